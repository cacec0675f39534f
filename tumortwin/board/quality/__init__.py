"""How far the geometry can be trusted: the quality report, its content and its pages."""
