"""Contact sheets and X/Y grids, as images and as HTML."""
