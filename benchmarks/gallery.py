"""Gallery benchmark: how soon the first screen of a million rows is there, and each page after it.

    python -m benchmarks.gallery --folder /tmp/bench

Builds the synthetic catalog of benchmarks.catalog when it is missing, and asks the server's own application for
pages as a browser would, without a network between. Prints a Markdown table: wall time, and the processor time of
the same answers behind it (on a shared machine the second number is the one to compare). No two pages are the same,
so none comes from what was kept of an answer.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from benchmarks.catalog_rows import build
from benchmarks.machine import machine, today
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.compact import compact
from nonesuch.web.app import create_app

_NEXT = re.compile(r'id="next" rel="next" href="([^"]+)"')
_IMAGE = re.compile(r'class="tile" data-id="([0-9a-f]{64})"')
Times = list[tuple[float, float]]  # wall and processor seconds


def main() -> None:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the catalog is built and kept")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=60, help="next pages of each view")
    options = parser.parse_args()
    out: Path = options.folder / f"rows-{options.rows}"
    if not out.exists():
        build(out, options.rows, 10_000, 0, np.random.default_rng(0))
        compact(out, everything=True)
    print(f"{machine()}; {today()}\n")
    print(
        f"| {options.rows:,} rows | answers | p50, ms (processor) | p95, ms (processor) |\n|---|---|---|---|"
    )
    row("server started, first screen included", [started(out)])
    client = visitor(out)
    asked(client, "/gallery")
    artists = iter(f"artist {number:02d}" for number in range(40))
    words = iter(f"subject {number:03d}" for number in range(100))
    row("first screen of all images, as asked again", [asked(client, "/gallery")[1] for _ in range(10)])
    row("first screen of a facet value", firsts(client, (f"f.artist={next(artists)}" for _ in range(20))))
    row("first screen of a prompt search", firsts(client, (f"q={next(words)}" for _ in range(20))))
    row("first screen of a score's range", firsts(client, (f"min.alignment={n / 40}" for n in range(20))))
    for name, query in (
        ("next page of all images", ""),
        ("next page of a facet value", "f.artist=artist 39"),
        ("next page of a prompt search", "q=subject 099"),
        ("next page by a score with ties", "order=subject_rank"),
        ("next page of the images not judged yet", "pick=open&order=alignment"),
    ):
        row(name, list(nexts(client, query, options.pages)))
    some = Catalog(out).query(sample=20, columns=["recipe_id"], as_arrow=True)["recipe_id"].to_pylist()
    row("one image with its neighbours", [asked(client, f"/image/{one}")[1] for one in some])
    row("X/Y grid of two facets", firsts(client, (f"min.sharpness={n / 20}" for n in range(8)), "/grid"))


def visitor(out: Path) -> TestClient:
    """A visitor of a server that has just been started."""
    return TestClient(create_app(out), base_url="http://localhost")


def started(out: Path) -> tuple[float, float]:
    """How long it takes from nothing but loaded libraries to the first screen."""
    begun, cpu = time.perf_counter(), time.process_time()
    asked(visitor(out), "/gallery")
    return time.perf_counter() - begun, time.process_time() - cpu


def asked(client: TestClient, address: str) -> tuple[str, tuple[float, float]]:
    """A page, and how long it took."""
    begun, cpu = time.perf_counter(), time.process_time()
    answer = client.get(address)
    spent = (time.perf_counter() - begun, time.process_time() - cpu)
    if answer.status_code != 200:
        raise SystemExit(f"{address}: {answer.text}")
    return answer.text, spent


def firsts(client: TestClient, queries: Iterator[str], path: str = "/gallery") -> Times:
    """The first page of each query."""
    return [asked(client, f"{path}?{query}")[1] for query in queries]


def nexts(client: TestClient, query: str, pages: int) -> Iterator[tuple[float, float]]:
    """The pages after a view's first one, as scrolling asks for them; checks that no image comes twice."""
    page, _ = asked(client, f"/gallery?{query}")
    seen = set(_IMAGE.findall(page))
    for _ in range(pages):
        following = _NEXT.search(page)
        if following is None:
            return
        page, spent = asked(client, unescape(following[1]) + "&part=cards")
        fresh = _IMAGE.findall(page)
        if seen & set(fresh):
            raise SystemExit(f"an image came twice: {query}")
        seen |= set(fresh)
        yield spent


def row(name: str, times: Times) -> None:
    """Print one line of the table."""

    def shown(share: float) -> str:
        wall, cpu = (1000 * float(np.quantile([one[at] for one in times], share)) for at in (0, 1))
        return f"{wall:.0f} ({cpu:.0f})"

    print(f"| {name} | {len(times)} | {shown(0.5)} | {shown(0.95)} |", flush=True)


if __name__ == "__main__":
    main()
