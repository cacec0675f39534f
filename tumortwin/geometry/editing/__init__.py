"""Interactive segmentation: strokes, hints (a click, a box) and the refinement between them."""
