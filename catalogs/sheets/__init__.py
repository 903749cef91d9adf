"""Contact sheets and X/Y grids, as pictures and as HTML."""
