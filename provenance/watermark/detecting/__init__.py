"""Finding the mark again: as it was embedded, then over scale and rotation."""
