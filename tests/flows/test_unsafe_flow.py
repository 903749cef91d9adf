"""What a run makes of images below the safety threshold, and what an audit says of them: real sweeps, from end to end."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from nonesuch.flows.run.steps.unsafe_images import blurred
from nonesuch.foundation.errors import InputError
from tests.command_line import nonesuch

SWEEP = """\
name: risky
prompt: "a {{subject}}"
facets: {{subject: [fox, {{name: "<b>owl & co</b>", text: owl}}]}}
seeds: {{count: 2}}
settings: {{steps: 4}}
{policy}
scoring: {{safety_threshold: {threshold}, unsafe: {unsafe}}}
"""


def run(folder: Path, *, unsafe: str, threshold: float, policy: str = "") -> pd.DataFrame:
    """The rows of the sweep, drawn into a folder of its own."""
    from nonesuch.flows.sweep import sweep

    path = folder / f"{unsafe}.yaml"
    path.write_text(SWEEP.format(unsafe=unsafe, threshold=threshold, policy=policy))
    sweep(path, folder / unsafe)
    return pd.read_parquet(folder / unsafe / "catalog").set_index("recipe_id").sort_index()


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def detail(image: npt.NDArray[np.uint8]) -> float:
    """What a blur takes away: the mean of what neighbours differ by."""
    return float(np.abs(np.diff(image.astype(int), axis=0)).mean())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Path, pd.DataFrame, float]:
    """The sweep with everything kept, its rows, and a threshold with images on both sides of it."""
    folder = tmp_path_factory.mktemp("unsafe")
    rows = run(folder, unsafe="keep", threshold=0.0)
    scores = sorted(rows["safety"])
    return folder, rows, (scores[1] + scores[2]) / 2


class TestUnsafe:
    def test_below_the_threshold_nothing_can_be_made_out_and_the_rest_is_as_it_was(
        self, kept: tuple[Path, pd.DataFrame, float]
    ) -> None:
        folder, before, threshold = kept
        (folder / "policy.yaml").write_text(f"unsafe: blur\nsafety_threshold: {threshold}\n")
        rows = run(folder, unsafe="blur", threshold=threshold, policy="policy: policy.yaml")
        assert list(rows.index) == list(before.index)
        assert sorted(rows["status"]) == ["flagged", "flagged", "ok", "ok"]
        for recipe_id, row in rows.iterrows():
            old = pixels(folder / "keep" / before.loc[recipe_id, "file"])
            new = pixels(folder / "blur" / row["file"])
            assert row["safety"] == before.loc[recipe_id, "safety"]
            np.testing.assert_array_equal(row["embedding"], before.loc[recipe_id, "embedding"])
            if row["safety"] >= threshold:
                assert row["status"] == "ok"
                np.testing.assert_array_equal(old, new)
                continue
            assert (
                row["reason"]
                == f"blurred: its safety score {row['safety']:.2f} is below the sweep's threshold"
            )
            assert detail(new) < detail(old) / 2
            # 8 x 8 colours are all that is left; the watermark is a little above them
            assert np.abs(new.astype(int) - blurred(old)).mean() < 4
            told = nonesuch("verify", folder / "blur" / row["file"], "--json")
            assert json.loads(told.stdout)["integrity"] == "intact"
            assert row["watermark_id"] == int(str(recipe_id)[:16], 16)

    def test_what_is_discarded_leaves_a_row_and_is_not_drawn_again(
        self, kept: tuple[Path, pd.DataFrame, float]
    ) -> None:
        from nonesuch.flows.sweep import sweep

        folder, before, threshold = kept
        rows = run(folder, unsafe="discard", threshold=threshold)
        gone = rows[rows["status"] == "flagged"]
        assert sorted(gone.index) == sorted(before[before["safety"] < threshold].index)
        assert gone["file"].isna().all()
        assert gone["reason"].str.startswith("discarded: its safety score").all()
        left = {one.stem for one in (folder / "discard").rglob("*") if one.is_file()}
        assert not [
            recipe_id for recipe_id in gone.index if any(stem.startswith(recipe_id[:16]) for stem in left)
        ]
        assert sweep(folder / "discard.yaml", folder / "discard").planned == 0

    def test_a_policy_that_wants_more_refuses_the_sweep_before_anything_is_drawn(
        self, kept: tuple[Path, pd.DataFrame, float]
    ) -> None:
        folder, _, _ = kept
        (folder / "strict.yaml").write_text("unsafe: discard\n")
        path = folder / "lax.yaml"
        path.write_text(SWEEP.format(unsafe="blur", threshold=0.5, policy="policy: strict.yaml"))
        from nonesuch.flows.sweep import sweep

        with pytest.raises(InputError, match="unsafe images are dealt with by blur"):
            sweep(path, folder / "lax")
        assert not (folder / "lax").exists()
        told = nonesuch("plan", path)
        assert told.returncode == 2
        assert "unsafe: discard" in told.stderr


class Page(HTMLParser):
    """Rows of the tables, all tags, and what styles and attributes name."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


class TestAudit:
    def test_words_in_brackets_are_words(self, kept: tuple[Path, pd.DataFrame, float]) -> None:
        told = nonesuch("audit", kept[0] / "keep", "--by", "subject", "--attributes", "[/fox],[red]owl")
        assert told.returncode == 0, told.stderr
        assert "[/fox] / [red]owl" in told.stdout

    def test_the_page_holds_the_figures_and_no_one_s_markup(
        self, kept: tuple[Path, pd.DataFrame, float], tmp_path: Path
    ) -> None:
        folder, _, _ = kept
        sets = "fox,owl;<script>alert(1)</script>,a plain thing"
        told = nonesuch(
            "audit", folder / "keep", "--by", "subject", "--attributes", sets, "--sure", "0.5",
            "--html", tmp_path / "audit.html", "--json",
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        said = json.loads(told.stdout)
        page = Page()
        page.feed((tmp_path / "audit.html").read_text())
        assert "script" not in page.tags
        # no value's own <b>: there is one <i> and one <b> in each bar
        assert page.tags.count("b") == page.tags.count("i") == len(said["rows"])
        assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
        assert "<script>alert(1)</script>" in page.text
        assert "<b>owl & co</b>" in page.text
        figures = [row for row in page.rows if row[0] != "subject"]
        assert len(figures) == len(said["rows"])
        value = ""
        for row, one in zip(figures, said["rows"], strict=True):
            value = row[0] or value
            assert (value, row[1]) == (one["value"], one["attribute"])
            assert row[2] == f"{one['count']} of {one['images']}"
            assert row[3] == f"{one['share']:.0%}"
            assert one["low"] <= one["share"] <= one["high"]
        for names in ("fox / owl", "<script>alert(1)</script> / a plain thing"):
            for of in ("(all)", "fox", "<b>owl & co</b>"):
                counts = [one for one in said["rows"] if (one["attributes"], one["value"]) == (names, of)]
                assert (
                    sum(one["count"] for one in counts) == counts[0]["images"] == (4 if of == "(all)" else 2)
                )
        widths = [
            float(one)
            for _, style in page.attributes
            for one in re.findall(r"(?:left|width):([\d.]+)%", style or "")
        ]
        assert widths
        assert all(0 <= one <= 100 for one in widths)
