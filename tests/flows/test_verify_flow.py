"""The flow verify_folder on a real Prefect server: every file once, resumable, one bad file costs one row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.marking.drawn_image import MarkRequest, mark_image
from nonesuch.provenance.signing.signer import open_signer
from tests.command_line import nonesuch


def write_images(folder: Path, count: int, first: int = 0) -> None:
    """Small pictures over three folders, every fifth signed as generated."""
    signer = open_signer()
    for number in range(first, first + count):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        path = folder / f"{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 5 == 0:
            request = MarkRequest(number, {}, "x", "embedded", watermark=None)
            path.write_bytes(mark_image(pixels, request, signer).data)
        else:
            Image.fromarray(pixels).save(path)


def run(folder: Path, out: Path, **options: Any) -> Any:
    from nonesuch.flows.verify_folder import verify_folder

    return verify_folder(folder, out, **{"search": "aligned", "shard_size": 8, "jobs": 1, **options})


def parts(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}


@pytest.mark.usefixtures("prefect_server")
class TestVerifyFolder:
    def test_every_file_is_there_once_and_a_broken_one_costs_its_row(self, tmp_path: Path) -> None:
        write_images(tmp_path / "in", 30)
        (tmp_path / "in" / "0" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
        summary = run(tmp_path / "in", tmp_path / "out")
        table = pd.read_parquet(tmp_path / "out").set_index("path")
        assert len(table) == 31 == table.index.nunique()
        assert (summary.files, summary.verified, summary.errors) == (31, 31, 1)
        assert summary.answers["ai-generated proven"] == 6
        assert table.loc[str(tmp_path / "in" / "0" / "broken.jpg"), "error"]
        assert set(table["verdict"][table["confidence"] == "proven"]) == {"ai-generated"}
        assert json.loads(table["evidence"].iloc[0]) is not None
        assert len(parts(tmp_path / "out")) > 2

    def test_only_what_is_new_or_changed_is_verified_again(self, tmp_path: Path) -> None:
        folder, out = tmp_path / "in", tmp_path / "out"
        write_images(folder, 40)
        run(folder, out)
        before = parts(out)
        assert run(folder, out).verified == 0
        assert parts(out) == before
        write_images(folder, 1, first=40)
        (folder / "0" / "000.png").write_bytes(b"now broken")
        (folder / "1" / "001.png").unlink()
        next(iter(out.glob("part-*.parquet"))).unlink()  # as if the run had been killed before it
        summary = run(folder, out)
        assert 0 < summary.verified < 41
        table = pd.read_parquet(out)
        assert sorted(table["path"]) == sorted(str(p) for p in folder.rglob("*.png"))
        assert summary.errors == 1
        assert set(parts(out)) & set(before)
        assert run(folder, out, again=True).verified == 40

    def test_another_question_is_another_answer(self, tmp_path: Path) -> None:
        write_images(tmp_path / "in", 3)
        run(tmp_path / "in", tmp_path / "out")
        assert run(tmp_path / "in", tmp_path / "out", search="full").verified == 3
        assert len(pd.read_parquet(tmp_path / "out")) == 3

    def test_the_command_line_writes_a_folder_of_verdicts(self, tmp_path: Path) -> None:
        write_images(tmp_path / "in", 4)
        told = nonesuch("verify", tmp_path / "in", "--out", tmp_path / "out", "--search", "aligned")
        assert told.returncode == 0, told.stderr
        assert told.stdout == ""
        assert "4 files, 4 of them verified now" in told.stderr
        assert len(pd.read_parquet(tmp_path / "out")) == 4


def test_what_can_not_be_verified_is_refused(tmp_path: Path) -> None:
    from nonesuch.flows.verify_folder import cut_files, verify_folder

    with pytest.raises(InputError, match="not a folder"):
        verify_folder.fn(tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="0 files"):
        list(cut_files(tmp_path, 0, ""))


def test_a_new_file_changes_one_shard(tmp_path: Path) -> None:
    from nonesuch.flows.verify_folder import cut_files

    for number in range(300):
        (tmp_path / f"{number:03}.png").touch()
    before = list(cut_files(tmp_path, 10, "x"))
    assert sum(len(shard.files) for shard in before) == 300
    assert max(len(shard.files) for shard in before) <= 40
    (tmp_path / "100a.png").touch()
    after = list(cut_files(tmp_path, 10, "x"))
    kept = {shard.key for shard in before} & {shard.key for shard in after}
    assert len(kept) >= len(before) - 2
    assert not {shard.key for shard in cut_files(tmp_path, 10, "y")} & kept
