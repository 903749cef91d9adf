"""A small registry per kind of replaceable part, filled by the project and by entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from nonesuch.foundation.errors import DependencyError, InputError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names mapped to factories of one kind of part.

    `kind` is used in messages; other packages add parts through the entry point group
    `nonesuch.<group>`, which is read at the first look-up.
    """

    def __init__(self, kind: str, group: str) -> None:
        self._kind = kind
        self._group = f"nonesuch.{group}"
        self._factories: dict[str, Callable[..., T] | str] = {}
        self._entry_points: dict[str, EntryPoint] = {}
        self._entry_points_read = False

    def register(self, name: str, factory: Callable[..., T] | str) -> None:
        """Add a part under `name`; a later one of the same name replaces it.

        A factory given as "module:attribute" is imported at its first use.
        """
        self._factories[name] = factory

    def get(self, name: str) -> Callable[..., T]:
        """The factory registered as `name`; an entry point's is imported here, and is the very object it names.

        Raises InputError naming the known ones, DependencyError when an entry point can't be imported.
        """
        self._read_entry_points()
        if name not in self._factories:
            if name not in self._entry_points:
                raise InputError(f"unknown {self._kind} {name!r}", hint=f"Known: {', '.join(self)}.")
            point = self._entry_points[name]
            try:
                loaded: Callable[..., T] = point.load()
            except Exception as error:  # another package's import may raise anything
                package = point.dist.name if point.dist else "unknown"
                raise DependencyError(
                    f"the {self._kind} {name!r} of the package {package} can't be imported: {error}",
                    where=point.value,
                    hint=f"Repair or remove the package {package}.",
                ) from error
            self._factories[name] = loaded
        factory = self._factories[name]
        if isinstance(factory, str):
            module, _, attribute = factory.partition(":")
            factory = self._factories[name] = getattr(import_module(module), attribute)
        return factory

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        return iter(sorted({*self._factories, *self._entry_points}))

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for point in entry_points(group=self._group):
            self._entry_points.setdefault(point.name, point)
