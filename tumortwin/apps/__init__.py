"""What people touch: ipywidgets apps. They compute nothing themselves."""

from tumortwin.apps.dose import DoseApp
from tumortwin.apps.editor import EditorApp
from tumortwin.apps.growth import GrowthApp
from tumortwin.apps.viewer import ViewerApp

__all__ = ["DoseApp", "EditorApp", "GrowthApp", "ViewerApp"]
