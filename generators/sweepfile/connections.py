"""The sweep file's `engines` section: how to reach other programs and services that draw, and what they may cost.

A key is named, never written: `env:NAME` reads an environment variable, `prefect:BLOCK` a Prefect Secret block.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from nonesuch.generators.sweepfile.settings import Strict

_KEY: Final = re.compile(r"(env|prefect):[A-Za-z_][\w.-]{0,127}")
_BOUND: Final = re.compile(r"[^.\s][^\n]{0,200}")


class Connection(Strict):
    """How one engine or service is reached; what is left out has a default that suits its kind."""

    url: Annotated[str, Field(description="address; engines: this machine, services: their own")] | None = (
        None
    )
    key: (
        Annotated[str, Field(description="where its key is: env:NAME, or prefect:BLOCK for a Secret block")]
        | None
    ) = None
    concurrency: Annotated[int, Field(ge=1, le=64, description="requests at once")] | None = None
    timeout: (
        Annotated[float, Field(gt=0, le=86_400, description="seconds that one image may take")] | None
    ) = None
    retries: Annotated[int, Field(ge=0, le=20, description="further tries after a passing fault")] | None = (
        None
    )
    per_minute: Annotated[float, Field(gt=0, description="requests a minute at most")] | None = None
    price: (
        Annotated[float, Field(ge=0, description="US dollars per image; the price table's when left out")]
        | None
    ) = None
    bind: Annotated[
        dict[str, str | list[str]],
        Field(description="facet or recipe field → option; of a workflow NODE.INPUT"),
    ] = Field(default_factory=dict)
    output: Annotated[str, Field(description="node of a workflow whose image counts")] | None = None

    @field_validator("url")
    @classmethod
    def _plain_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"is not an address ({error})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("is not an address; write it as http://127.0.0.1:8188")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a password; name where the key is instead: key: env:NAME")
        if parts.query or parts.fragment:
            raise ValueError("has a ? or # part; only scheme, host, port and path belong there")
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _named_key(cls, key: str | None) -> str | None:
        # The value is not repeated: it may be the key itself.
        if key is not None and not _KEY.fullmatch(key):
            raise ValueError("a key is named, not written down; use env:NAME or prefect:BLOCK") from None
        return key

    @field_validator("bind")
    @classmethod
    def _bindings(cls, bind: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, target in bind.items():
            targets = [target] if isinstance(target, str) else target
            if not targets or not all(_BOUND.fullmatch(one) for one in targets):
                raise ValueError(f"{name} is bound to nothing; write NODE.INPUT, for example 3.denoise")
        return bind

    def targets(self, name: str) -> tuple[str, ...]:
        """What a facet or field is bound to; () when it is not bound."""
        target = self.bind.get(name, ())
        return (target,) if isinstance(target, str) else tuple(target)


def connection_of(model: str, connections: Mapping[str, Connection]) -> Connection:
    """The settings of a model's engine: those of its kind ("comfyui"), overridden by those of that model."""
    kind = connections.get(model.split(":", 1)[0], Connection())
    own = connections.get(model, Connection())
    chosen = {name: getattr(one, name) for one in (kind, own) for name in one.model_fields_set}
    return Connection.model_validate(chosen)


def connections_for(model: str, connections: Mapping[str, Connection]) -> dict[str, dict[str, Any]]:
    """What a sweep file of this one model says under `connections`; {} where nothing is said of its engine.

    `model` as a recipe has it: a workflow by its file's name alone, wherever the connection's own name has it.
    """
    kind, _, name = model.partition(":")
    named = next((one for one in connections if one != kind and _same_model(one, kind, name)), model)
    own = connection_of(named, {kind: connections.get(kind, Connection()), **connections})
    said = own.model_dump(exclude_unset=True)
    return {kind: said} if said else {}


def _same_model(named: str, kind: str, name: str) -> bool:
    of_kind, _, of_name = named.partition(":")
    return of_kind == kind and (
        of_name == name or (kind == "comfyui" and PurePath(of_name).name == PurePath(name).name)
    )


def is_loopback(url: str) -> bool:
    """Whether an address is this machine, by its name or number alone; nothing is looked up."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
