"""The report of a run: the same facts as its summary, one file that loads nothing, everything escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nonesuch.flows.reporting.summary import Summary

SWEEP = """\
name: shown
model: noise
prompt: "<script>alert(1)</script> {what}"
facets:
  what: ["<img src=x onerror=alert(2)>", '" onmouseover="alert(3)', fox]
seeds: {count: 5}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [alignment, technical]}
price: {gpu_hour: 3.6, currency: EUR}
"""


class Page(HTMLParser):
    """The tags of a page, its text, and whatever would fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.fixture(scope="module")
def run(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("page")
    (folder / "s.yaml").write_text(SWEEP)
    return sweep(folder / "s.yaml", folder / "out"), folder


def test_it_shows_what_the_summary_says(run: tuple[Summary, Path]) -> None:
    summary, folder = run
    page = Page()
    page.feed((folder / "out" / str(summary.page)).read_text())
    assert summary.done == 15
    assert summary.device_price == pytest.approx(summary.device_hours * 3.6)
    assert summary.cost == 0
    assert summary.device_hours > 0
    text = re.sub(r"\s+", " ", page.text)
    for words in (
        "shown",
        "images drawn 15",
        "price of device hours",
        "Scores by facet",
        "Where the time went",
        summary.price_told,
    ):
        assert words in text
    assert page.tags.count("img") == len(summary.top) == 12
    assert "<script>alert(1)</script> fox" in text


def test_it_runs_nothing_and_loads_nothing(run: tuple[Summary, Path]) -> None:
    summary, folder = run
    page = Page()
    page.feed((folder / "out" / str(summary.page)).read_text())
    assert "script" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on")}
    assert all(source.startswith("data:image/webp;base64,") for source in page.sources)


def test_the_artifact_says_the_same(run: tuple[Summary, Path]) -> None:
    summary, _ = run
    told = summary.markdown()
    assert "15 images drawn" in told
    assert "device hours" in told
    assert "<script>" not in told


def test_a_run_that_draws_nothing_leaves_no_page(run: tuple[Summary, Path]) -> None:
    from nonesuch.flows.sweep import sweep

    _, folder = run
    before = list((folder / "out" / "reports").iterdir())
    again = sweep(folder / "s.yaml", folder / "out")
    assert (again.planned, again.page) == (0, None)
    assert list((folder / "out" / "reports").iterdir()) == before
