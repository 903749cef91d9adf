"""Ways of making an image beyond one drawing from text: as a recipe holds them, as a sweep file says them,
and what is checked of them before anything is drawn."""
