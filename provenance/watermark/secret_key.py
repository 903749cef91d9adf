"""The watermark's secret key: read from a file or an environment variable, made by `nonesuch keys watermark`.

Without one, watermarks are made with the public key (nonesuch.provenance.watermark.pattern.layout.PUBLIC_KEY), which everyone can read.
A key is never logged, and never stands in a recipe, a catalog or a credential.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write
from nonesuch.provenance.signing.keys import refuse_loose_mode

SHORTEST, LONGEST = 16, 4096  # bytes
_ENVIRONMENT = "env:"


def read_watermark_key(named: str | Path, *, folder: Path = Path(), where: str | None = None) -> bytes:
    """The key that `named` leads to: a file, relative to `folder`, or "env:NAME" for an environment variable.

    White space around it does not count. `where` is the place that names it, for messages.
    Raises InputError for a file that is missing or that others may read, an unset variable, a key under 16 or
    over 4096 bytes.
    """
    text = str(named)
    if text.startswith(_ENVIRONMENT):
        name = text.removeprefix(_ENVIRONMENT)
        value = os.environ.get(name)
        if value is None:
            raise InputError(f"the environment variable {name!r} is not set", where=where or "watermark key")
        return _checked(os.fsencode(value), where or text)
    path = folder / Path(text).expanduser()
    refuse_loose_mode(path)
    try:
        with path.open("rb") as file:
            return _checked(file.read(LONGEST + 1), str(path))
    except OSError as error:
        raise InputError(error.strerror or str(error), where=str(path)) from error


def make_watermark_key(path: Path) -> None:
    """Write a fresh random key of 256 bits, as hex digits, to a new file of mode 0600.

    Raises InputError when there is a file already: what was marked with its key could not be found any more.
    """
    if path.exists():
        raise InputError(
            "is there already",
            where=str(path),
            hint="Choose another name; watermarks can only be read with the key that made them.",
        )
    atomic_write(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)


def _checked(raw: bytes, where: str) -> bytes:
    key = raw.strip()
    if not SHORTEST <= len(key) <= LONGEST:
        raise InputError(
            f"a watermark key has {SHORTEST} to {LONGEST} bytes, this one {len(key)}",
            where=where,
            hint="Make one with: nonesuch keys watermark FILE",
        )
    return key
