"""Finding damage in an output and healing it: what `check` reports and `run --repair` mends."""
