"""Files that appear whole, and reach the disk when they are told to."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nonesuch.foundation import files
from nonesuch.foundation.errors import InputError, StorageError


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


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB that can hold twelve files and folders."""
    folder = tmp_path / "few"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=12", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"needs root for a small tmpfs: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_what_ran_out_is_named(few_inodes: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        files.atomic_write(few_inodes / "large", b"x" * (5 << 20))
    for number in range(4):
        files.atomic_write(few_inodes / f"{number}" / "file", b"x")
    with pytest.raises(StorageError, match=r"no inodes left.*bytes are free"):
        files.atomic_write(few_inodes / "one" / "more" / "folder" / "and" / "file", b"x")


@pytest.mark.parametrize(
    ("code", "inodes", "free_inodes", "blocks", "said"),
    [
        (errno.ENOSPC, 1000, 0, 1000, "no inodes left"),
        (errno.ENOSPC, 100_000, 3, 1000, "no inodes left"),  # others may free some meanwhile
        (errno.ENOSPC, 1000, 500, 0, "the disk is full"),
        (errno.ENOSPC, 1000, 0, 0, "the disk is full"),
        (errno.ENOSPC, 0, 0, 1000, "the disk is full"),  # btrfs counts no inodes
        (errno.EDQUOT, 1000, 500, 1000, "your disk quota is used up"),
    ],
)
def test_a_full_disk_a_quota_and_inodes_are_told_apart(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    inodes: int,
    free_inodes: int,
    blocks: int,
    said: str,
) -> None:
    facts = os.statvfs_result((4096, 4096, 5000, blocks, blocks, inodes, free_inodes, free_inodes, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: facts)
    error = files.storage_error(OSError(code, os.strerror(code)), tmp_path / "not" / "there")
    assert said in str(error)
    assert "run the command again" in str(error)


def test_a_lock_is_held_by_one_and_goes_with_its_block(tmp_path: Path) -> None:
    lock, taken = tmp_path / "new" / "a.lock", InputError("taken")
    for _ in range(2):
        with files.held_alone(lock, taken):
            assert files.is_held(lock)
            with pytest.raises(InputError, match="taken"), files.held_alone(lock, taken):
                pass
        assert not files.is_held(lock)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), files.held_alone(tmp_path / "file" / "a.lock", taken):
        pass
