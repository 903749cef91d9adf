"""The benchmark of the three ways runs on small architectures, and says what its figures leave out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.architectures import build
from benchmarks.drawing_work import BareDiffusers, make_work
from benchmarks.gpu_rows import peak_of
from benchmarks.pipeline import main
from benchmarks.plain_script import WATERMARKED_PIXELS, why_unmarked

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.usefixtures("prefect_server")
def test_the_three_ways_draw_the_same_work_and_tell_their_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "told.json"
    main(
        f"--model sdxl --tiny --weights {tmp_path} --steps 2 --images 16 --plain-images 2 --repeats 2 "
        f"--threads 1 --profile --json {file}".split()
    )
    told = json.loads(file.read_text())
    assert (told["model"], told["tiny"], told["side"], told["steps"]) == ("sdxl", True, 64, 2)
    assert told["images"] == 16
    assert told["pipeline_rows"] == {"ok in batches of 16": 16}
    assert set(told["batches"]) == {"4", "8", "16"}
    assert str(told["batch"]) == max(told["batches"], key=told["batches"].get)
    for key in ("images_per_second", "core_seconds_per_image", "start_seconds"):
        assert set(told[key]) == {"bare", "plain", "pipeline"}
        assert min(told[key].values()) > 0
    assert {"draw", "score", "mark"} <= set(told["stage_seconds_per_image"])  # other tests may add theirs
    assert told["operations_per_image"] > 1e6
    assert "256x256" in told["plain_unmarked"]
    for key in ("device_gigabytes", "kernels"):
        assert (key in told) == torch.cuda.is_available()
    shown = capsys.readouterr().out
    assert "sdxl (tiny), 64 px, 2 steps, 16 images" in shown
    assert "| plain, no watermark |" in shown
    assert "plain goes without a watermark: invisible-watermark refuses" in shown
    assert "| draw | " in shown


def test_operations_grow_by_as_much_with_every_step(tmp_path: Path) -> None:
    work = make_work(build("sdxl", tmp_path / "sdxl", tiny=True), 1, 64, 2, 5.0)
    bare = BareDiffusers(work)
    counted = []
    for steps in (2, 3, 5):
        bare.work = replace(work, steps=steps)
        counted.append(bare.operations())
    two, three, five = counted
    assert 0 < two < three
    assert five - three == 2 * (three - two)


def test_a_watermark_that_is_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    side = int(WATERMARKED_PIXELS**0.5)
    assert "256x256" in (why_unmarked(side - 8, None) or "")
    reason = why_unmarked(side, tmp_path)
    if importlib.util.find_spec("imwatermark") is None:
        assert reason is not None
        assert "imwatermark" in reason
        assert "--packages" in reason
    else:
        assert reason is None


@pytest.mark.parametrize(
    ("chip", "peak"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L40", None),
        ("Tesla T4", None),
    ],
)
def test_only_known_chips_have_a_peak(chip: str, peak: float | None) -> None:
    assert peak_of(chip) == (None if peak is None else peak * 1e12)


def test_a_row_that_fails_takes_no_other_along(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "benchmarks/gpu_rows.sh", tmp_path / "out", "sd15-512", "sdxl-1024"],
        env={**os.environ, "PYTHON": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    for row in ("sd15-512", "sdxl-1024"):
        assert f"## {row}\n\n{row}: stopped or failed" in done.stdout
    assert (tmp_path / "out" / "rows.md").read_text() == done.stdout


def test_rows_for_which_no_time_is_left_are_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "benchmarks/gpu_rows.sh", tmp_path, "sd3-512"],
        env={**os.environ, "PYTHON": "false", "LIMIT": "10"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "sd3-512: no time left\n")
