"""The drawn set on disk: images, their pairs, and how the stage ``draw`` makes them."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS, draw, training_pairs


@dataclass(frozen=True)
class Drawn:
    """A drawn set.

    Attributes:
        pixels: ``uint8 [n, 128, 128, 3]`` RGB.
        subject: ``int16 [n]`` index into ``SUBJECTS``.
        style: ``int16 [n]`` index into ``STYLES``.
    """

    pixels: npt.NDArray[np.uint8]
    subject: npt.NDArray[np.int16]
    style: npt.NDArray[np.int16]


def _draw_part(task: tuple[int, int, list[tuple[int, int]]]) -> npt.NDArray[np.uint8]:
    cv2.setNumThreads(1)
    seed, first, pairs = task
    out = np.empty((len(pairs), 128, 128, 3), np.uint8)
    for row, (subject, style) in enumerate(pairs):
        rng = np.random.default_rng([seed, first + row])
        out[row] = draw(SUBJECTS[subject], STYLES[style], rng)
    return out


def draw_set(pairs: list[tuple[str, str]], each: int, seed: int, workers: int) -> Drawn:
    """Draw ``each`` images of every pair; the same seed draws the same set."""
    numbered = [(SUBJECTS.index(s), STYLES.index(t)) for s, t in pairs] * each
    order = np.random.default_rng(seed).permutation(len(numbered))
    numbered = [numbered[i] for i in order]
    step = 500
    tasks = [(seed, at, numbered[at : at + step]) for at in range(0, len(numbered), step)]
    began, parts = time.monotonic(), []
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(_draw_part, tasks):
            parts.append(part)
            done = step * len(parts)
            rate = done / (time.monotonic() - began)
            print(f"draw: {min(done, len(numbered))}/{len(numbered)}, {rate:.0f} images/s", file=sys.stderr)
    labels = np.array(numbered, np.int16)
    return Drawn(np.concatenate(parts), labels[:, 0], labels[:, 1])


def run_draw(folder: Path, each: int, seed: int, workers: int) -> None:
    """Stage ``draw``: the training set, without the held-out pairs, into ``folder``."""
    drawn = draw_set(training_pairs(), each, seed, workers)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pixels.npy", drawn.pixels)
    np.save(folder / "labels.npy", np.stack([drawn.subject, drawn.style], 1))


def load_drawn(folder: Path) -> Drawn:
    """Read what ``run_draw`` wrote, memory-mapped."""
    path = folder / "pixels.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run the stage 'draw' first")
    labels = np.load(folder / "labels.npy")
    return Drawn(np.load(path, mmap_mode="r"), labels[:, 0], labels[:, 1])
