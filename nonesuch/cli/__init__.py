"""The command line: thin twins of Python functions. stdout is data, stderr is progress and status."""

from nonesuch.cli.app import main

__all__ = ["main"]
