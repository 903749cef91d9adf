"""Digests of model folders and LoRA files, remembered by size and time so that weights are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.foundation.files import atomic_write, cache_dir, file_digest, storage_error

# What decides a pipeline's pixels; model cards, images and licences beside it do not.
_SUFFIXES: Final = frozenset({".json", ".safetensors", ".txt", ".model"})


def folder_digest(folder: Path) -> str:
    """SHA-256 over the sorted (relative path, SHA-256) pairs of a pipeline folder: 64 hex digits.

    It covers model_index.json and the weights, configurations and vocabularies in the component
    folders that it names. Raises InputError when there is no model_index.json.
    """
    index = folder / "model_index.json"
    try:
        components = json.loads(index.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a diffusers pipeline: it has no model_index.json",
            where="model",
            hint="Name the folder that DiffusionPipeline.save_pretrained wrote.",
        ) from error
    except OSError as error:
        raise storage_error(error, index) from error
    except ValueError as error:
        raise InputError(f"is not valid JSON ({error})", where=str(index)) from error
    files = [index]
    for name in components:
        if not name.startswith("_") and (folder / name).is_dir():
            files += [path for path in (folder / name).rglob("*") if path.suffix in _SUFFIXES]
    digests = _remembered(folder, sorted(files))
    lines = (f"{path.relative_to(folder).as_posix()}\0{digests[path]}\n" for path in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def lora_digest(path: Path, *, where: str) -> str:
    """SHA-256 of a LoRA's safetensors file. Raises InputError when it is missing or another kind of file."""
    if path.suffix != ".safetensors":
        raise InputError(f"{path.name} is not a safetensors file", where=where)
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=where)
    return _remembered(path.parent, [path])[path]


def weights_digest(
    path: Path, *, where: str, what: str, suffixes: tuple[str, ...] = (".safetensors",)
) -> str:
    """SHA-256 of a file of weights. Raises InputError when it is missing or of another kind."""
    if path.suffix not in suffixes:
        raise InputError(f"{what} {path.name} is not a file of {' or '.join(suffixes)}", where=where)
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=where)
    return _remembered(path.parent, [path])[path]


def component_digest(folder: Path) -> str:
    """SHA-256 over the sorted (name, SHA-256) pairs of one model's configuration and weights: 64 hex digits."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    digests = _remembered(folder, files)
    return hashlib.sha256("".join(f"{path.name}\0{digests[path]}\n" for path in files).encode()).hexdigest()


def file_digests(paths: list[Path]) -> dict[Path, str]:
    """SHA-256 of each file, 64 hex digits; files that have not changed since last time are not read again."""
    found: dict[Path, str] = {}
    for folder in {path.parent for path in paths}:
        found |= _remembered(folder, [path for path in paths if path.parent == folder])
    return found


def _remembered(folder: Path, files: list[Path]) -> dict[Path, str]:
    """The files' digests; read anew only where size or modification time has changed since last time."""
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]
    store = cache_dir() / "digests" / f"{key}.json"
    try:
        known = dict(json.loads(store.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    fresh: dict[str, list[int | str]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        status = path.stat()
        mark: list[int | str] = [status.st_size, status.st_mtime_ns]
        entry = known.get(name)
        if not (isinstance(entry, list) and len(entry) == 3 and entry[:2] == mark):
            entry = [*mark, file_digest(path)]
        fresh[name] = entry
    if any(known.get(name) != entry for name, entry in fresh.items()):
        # The store only saves time: where it can't be written, the weights are read again.
        with contextlib.suppress(NonesuchError):
            atomic_write(store, json.dumps({**known, **fresh}).encode())
    return {path: str(fresh[path.relative_to(folder).as_posix()][2]) for path in files}
