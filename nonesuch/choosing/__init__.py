"""Choosing from a catalog, for Python and the command line: picks, comparisons, audits, search by likeness."""
