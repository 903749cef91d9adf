"""Damaged files are moved aside, never destroyed: one may be a person's own edit. And the log of what was mended."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.files import storage_error

FOLDER: Final = ".damaged"  # OUT/.damaged/TIME/… under the path that the file had
LOG: Final = "repairs.jsonl"  # OUT/repairs.jsonl: one JSON object per image or file that was mended


class Aside:
    """Where one repair keeps what it takes away; made when it first takes something."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out / FOLDER / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        self.count = 0

    @property
    def shown(self) -> str | None:
        """The folder, relative to the output; None when nothing was taken away."""
        return self._folder.relative_to(self._out).as_posix() if self.count else None

    def move(self, path: Path) -> Path:
        """Move a file of the output aside; where it is now. Raises StorageError."""
        return self._keep(path, lambda target: path.replace(target))

    def copy(self, path: Path) -> Path:
        """Keep a second name, or else a copy, of a file that is about to be replaced. Raises StorageError."""

        def link(target: Path) -> None:
            try:
                os.link(path, target)
            except OSError:  # a file system without hard links
                shutil.copy2(path, target)

        return self._keep(path, link)

    def take_back(self, kept: Path, path: Path) -> None:
        """Put a file that was moved aside to a place of the output. Raises StorageError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept.replace(path)
        except OSError as error:
            raise storage_error(error, path) from error
        self.count -= 1
        if not self.count:
            shutil.rmtree(self._folder, ignore_errors=True)  # nothing but empty folders

    def _keep(self, path: Path, take: Callable[[Path], object]) -> Path:
        target = self._folder / path.relative_to(self._out)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            take(target)
        except OSError as error:
            raise storage_error(error, target) from error
        self.count += 1
        return target


def log_repairs(out: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Append to OUT/repairs.jsonl, each entry with its time. Raises StorageError."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = "".join(json.dumps({"at": now, **entry}, ensure_ascii=False) + "\n" for entry in entries)
    if not lines:
        return
    try:
        with (out / LOG).open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, out / LOG) from error
