"""From a sweep to recipes: the matrix, its space and plan, shards, and Thompson sampling over it."""
