"""Ways of drawing beyond text to image: as a recipe holds them, as a sweep file states them,
and the checks before anything is drawn."""
