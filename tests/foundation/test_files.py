"""Files that appear whole, and reach the disk when they are told to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foundation import files
from foundation.errors import StorageError


def test_a_file_appears_whole_with_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "a" / "key", b"secret", mode=0o600)
    files.atomic_write(tmp_path / "a" / "key", b"newer", mode=0o600, flush=False)
    assert (tmp_path / "a" / "key").read_bytes() == b"newer"
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path / "a") == ["key"]


@pytest.mark.parametrize("one_step", [True, False])
def test_written_files_are_flushed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool
) -> None:
    if not one_step:
        monkeypatch.setattr(files, "_syncfs", None)
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (flushed.append(handle), real(handle)))
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        files.atomic_write(path, b"pixels", flush=False)
    assert not flushed
    files.flush_files(tmp_path, paths)
    assert len(flushed) == (0 if one_step else 3)


def test_a_folder_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"):
        files.flush_files(tmp_path / "gone", [])
