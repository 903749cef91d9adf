"""`python -m nonesuch` is the command line."""

from nonesuch.cli import main

main()
