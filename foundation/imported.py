"""Changing a library's module as soon as anything imports it, without importing it for that purpose."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Change = Callable[[Any], None]  # takes the module


def when_imported(name: str, change: Change) -> None:
    """Call `change` with the module of that full name: now if it is imported, otherwise right after it is."""
    if name in sys.modules:
        change(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, change))


class _Finder(MetaPathFinder):
    def __init__(self, name: str, change: Change) -> None:
        self._name, self._change = name, change

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            loader: Any = found.loader
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                self._change(module)

            loader.exec_module = exec_module
        return found
