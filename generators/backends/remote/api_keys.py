"""API keys of engines and services: read where they are used, stored nowhere, removed from every message."""

from __future__ import annotations

import os
import re
from typing import Final

from nonesuch.foundation.errors import InputError

MASK: Final = "…"
# What keys of the known services look like, whole or with stars in them as some error messages have them.
_KEYLIKE: Final = re.compile(
    r"\b(?:sk|rk|pk)-[\w*.-]{6,}|\bAIza[\w*-]{6,}|\bya29\.[\w*.-]{6,}|Bearer\s+[^\s\"',]+"
)


def read_key(named: str, *, where: str) -> str:
    """The key that `env:NAME` or `prefect:BLOCK` names. Raises InputError, without the key, when there is none."""
    kind, _, name = named.partition(":")
    if kind == "prefect":
        key = _from_block(name, where)
    else:
        key = os.environ.get(name, "")
        if not key.strip():
            raise InputError(
                f"the environment variable {name} holds no key",
                where=where,
                hint=f"Set it (export {name}=…), or name another place: connections: {{…: {{key: env:NAME}}}}.",
            )
    key = key.strip()
    if not key.isascii() or not key.isprintable() or len(key) > 8192:
        raise InputError(f"what {named} holds is not a key: it can't be sent in a header", where=where)
    return key


def without_key(text: str, key: str | None) -> str:
    """The text with the key, and whatever looks like one, masked."""
    if key:
        for part in {key, *key.split(":")}:
            if len(part) >= 4:
                text = text.replace(part, MASK)
    return _KEYLIKE.sub(MASK, text)


def _from_block(name: str, where: str) -> str:
    from prefect.blocks.system import Secret

    try:
        held = Secret.load(name)
        value = held.get()  # type: ignore[union-attr]
    except ValueError as error:
        raise InputError(
            f"Prefect has no Secret block {name!r}",
            where=where,
            hint="Make one on the server's page or with Secret(value=…).save(name).",
        ) from error
    except Exception as error:  # the server behind the blocks may be away in many ways
        raise InputError(
            f"the Secret block {name!r} can't be read ({type(error).__name__})", where=where
        ) from None
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"the Secret block {name!r} holds no text", where=where)
    return value
