"""Adaptive sweeps against even spending, on the embedded model's own pictures and scores.

    python -m benchmarks.adaptive --folder /tmp/adaptive

Draws a whole matrix once (120 images; run it again to go on after a stop), so that the score of every cell is known,
and then spends half as many images on it in 200 ways each: adaptively, round by round as a run does, and evenly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.machine import machine, today
from nonesuch.catalogs.query import Catalog
from nonesuch.generators.matrix.thompson import Seen, choose, gather, generator
from nonesuch.running.flow_runs import run_sweep

SWEEP = """\
name: adaptive
model: embedded
prompt: "a painting of a {subject} by {artist}"
facets:
  subject: [panda, fox, castle, volcano, owl]
  artist: [Katsushika Hokusai, Vincent van Gogh, Georges Seurat, Andy Warhol]
seeds: {count: 6, base: 1000}
marking: {watermark: false, credentials: false}
shard_size: 24
budget: {hours: HOURS}
"""
SPENT, FIRST, ROUND, TURNS, TOP = 60, 20, 10, 200, 12

Numbers = npt.NDArray[np.float64]


def main() -> None:
    """Draw, simulate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="where the images are drawn, or lie already"
    )
    parser.add_argument("--hours", type=float, default=10.0, help="of drawing at most in this run")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    file = asked.folder / "sweep.yaml"
    file.write_text(SWEEP.replace("HOURS", str(asked.hours)))
    summary = run_sweep(file, asked.folder / "out", online=False)
    if summary.ended_by:
        print(f"{summary.done} of {summary.planned} drawn; run it again to go on")
        return
    rows = Catalog(asked.folder / "out").query("aesthetic IS NOT NULL", order=["subject", "artist", "seed"])
    print(f"{machine()}, {today()}; {len(rows)} images, {SPENT} spent, {TURNS} turns")
    for score in ("aesthetic", "alignment"):
        table = rows.pivot(index=["subject", "artist"], columns="seed", values=score).to_numpy(float)
        subjects = rows["subject"].nunique()
        positions = gather([divmod(arm, len(table) // subjects) for arm in range(len(table))])
        best = float(np.sort(table.ravel())[-TOP:].mean())
        print(f"{score}: the {TOP} best of all have a mean of {best:.3f}")
        for name, spend in (("adaptive", _adaptive), ("even", _even)):
            _told(name, table, [spend(table, positions, turn) for turn in range(TURNS)])


def _told(name: str, table: Numbers, spent: list[Numbers]) -> None:
    top = np.array([np.sort(scores)[-TOP:].mean() for scores in spent])
    bar = np.sort(table.ravel())[-TOP]
    share = np.array([(scores >= bar).mean() * len(scores) / TOP for scores in spent])
    print(
        f"  {name:9} mean of all {np.mean([s.mean() for s in spent]):.3f}, of the best {TOP} "
        f"{top.mean():.3f} ± {top.std() / np.sqrt(len(top)):.3f}, {100 * share.mean():.0f} % of the {TOP} best found"
    )


def _even(table: Numbers, positions: npt.NDArray[np.int64], turn: int) -> Numbers:
    """Half of each combination's seeds, chosen by chance."""
    rng = np.random.default_rng(turn)
    return rng.permuted(table, axis=1)[:, : SPENT // len(table)].ravel()


def _adaptive(table: Numbers, positions: npt.NDArray[np.int64], turn: int) -> Numbers:
    """As nonesuch.flows.run.rounds: an even sample first, then rounds; which seed comes first is left to chance."""
    rng = np.random.default_rng(turn)
    cells = rng.permuted(table, axis=1)
    drawn = np.zeros(len(table), np.int64)
    arms: list[int] = []
    scores: list[float] = []

    def draw(chosen: npt.NDArray[np.int64]) -> None:
        for arm in chosen:
            arms.append(int(arm))
            scores.append(float(cells[arm, drawn[arm]]))
            drawn[arm] += 1

    draw(rng.permutation(table.size)[:FIRST] // table.shape[1])
    number = 0
    while len(scores) < SPENT:
        number += 1
        seen = Seen(np.array(arms), np.array(scores))
        count = min(ROUND, SPENT - len(scores))
        draw(choose(positions, seen, table.shape[1] - drawn, count, generator(turn, number)))
    return np.array(scores)


if __name__ == "__main__":
    main()
