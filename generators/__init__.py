"""What to draw, and drawing it: sweep file, matrix, recipe, shards, backends, the embedded model."""
