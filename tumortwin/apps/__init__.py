"""What people touch: ipywidgets apps. They compute nothing themselves."""

from tumortwin.apps.dose import DoseApp

__all__ = ["DoseApp"]
