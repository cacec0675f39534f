"""What people touch: ipywidgets apps. They compute nothing themselves."""
