"""The one error root and its few kinds; the command line turns them into a message and an exit code."""

from __future__ import annotations


class NonesuchError(Exception):
    """Root of every error that nonesuch raises on purpose.

    The message says what was wrong; `where` (a file, line or key) and `hint` (what to do) are
    appended when given.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.where = where
        self.hint = hint
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}\n  {hint}" if hint else text)


class InputError(NonesuchError):
    """The person's input (sweep file, option, query, image, certificate) can't be used as it is."""

    exit_code = 2


class DependencyError(NonesuchError):
    """An optional package, system tool or weight file is missing; the hint says how to get it."""


class DrawingError(NonesuchError):
    """A backend could not load its model or draw."""


class ScoringError(NonesuchError):
    """An encoder or a scorer could not be loaded or run."""


class ProvenanceError(NonesuchError):
    """A watermark, key, certificate or credential could not be made or read."""


class CertificateTimeError(ProvenanceError):
    """The signing certificate is not valid now: nothing can be signed until clock or certificate change."""


class CatalogError(NonesuchError):
    """A catalog could not be read or written."""


class StorageError(NonesuchError):
    """The disk is full, a folder can't be written, or another run holds it."""


class ServerError(NonesuchError):
    """Prefect's server can't be reached."""
