"""The workshop of the embedded models: `python -m nonesuch.training.workshop STAGE --out DIR`."""
