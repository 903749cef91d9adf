"""The live metrics of a run: what its watcher counts, and what the stages say."""

from __future__ import annotations

import threading

import pytest

from nonesuch.flows.reporting import metrics
from nonesuch.flows.reporting.progress import Tally


def now(name: str, label: str) -> float:
    return next((s.value for s in metrics.samples() if (s.name, s.label) == (name, label)), 0.0)


def test_a_runs_figures_follow_its_tally() -> None:
    before = {status: now("nonesuch_images", status) for status in ("ok", "flagged", "failed")}
    run = metrics.RunMetrics("night")
    run.planned(10, 3)
    assert now("nonesuch_images_left", "night") == 10
    for tally in (Tally(10, 1, 0, 0), Tally(10, 1, 1, 0), Tally(10, 2, 1, 1, 1), Tally(10, 3, 1, 1, 1)):
        run.advanced(tally)
    grown = {status: now("nonesuch_images", status) - before[status] for status in before}
    assert grown == {"ok": 2, "flagged": 1, "failed": 1}
    assert now("nonesuch_images_left", "night") == 6
    assert now("nonesuch_images_fetched", "night") == 1


def test_stages_add_up_from_many_threads() -> None:
    before = now("nonesuch_stage_images", "mark")

    def work() -> None:
        for _ in range(500):
            metrics.worked("mark", 0.001, 2)
            metrics.queue("mark", 3, capacity=8)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert now("nonesuch_stage_images", "mark") - before == 8000
    assert (now("nonesuch_queue_depth", "mark"), now("nonesuch_queue_capacity", "mark")) == (3, 8)


def test_every_figure_is_described() -> None:
    metrics.queue("score", 1)
    metrics.worked("draw", 1.0, 4)
    metrics.published("night")
    assert {sample.name for sample in metrics.samples()} <= set(metrics.DESCRIBED)


def test_the_first_batch_says_nothing_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 100.01, 100.02, 104.0, 104.01])
    monkeypatch.setattr(metrics, "perf_counter", lambda: next(clock))
    rate = metrics.Rate()
    assert [rate.at(ended) for ended in (1, 2, 3)] == [0, 0, 0]
    assert 0.2 < rate.at(4) < 0.3  # one in four seconds, not four
    assert 0.4 < rate.at(5) < 0.6
