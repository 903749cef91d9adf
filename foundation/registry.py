"""A small registry for each kind of replaceable part, filled by the project and by entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from foundation.errors import InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names mapped to factories of one kind of part.

    `kind` is used in messages; other packages add parts through the entry point group
    `nonesuch.<group>`, which is read at the first look-up.
    """

    def __init__(self, kind: str, group: str) -> None:
        self._kind = kind
        self._group = f"nonesuch.{group}"
        self._factories: dict[str, Callable[..., T]] = {}
        self._entry_points_read = False

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Add a part under `name`; a later one of the same name replaces it."""
        self._factories[name] = factory

    def get(self, name: str) -> Callable[..., T]:
        """The factory registered as `name`. Raises InputError naming the known ones."""
        self._read_entry_points()
        if name not in self._factories:
            raise InputError(
                f"unknown {self._kind} {name!r}", hint=f"Known: {', '.join(sorted(self._factories))}."
            )
        return self._factories[name]

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        return iter(sorted(self._factories))

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for point in entry_points(group=self._group):
            self._factories.setdefault(point.name, lambda *a, _p=point, **k: _p.load()(*a, **k))
