"""An example of a package that adds parts to nonesuch; docs/plugins.md explains it."""
