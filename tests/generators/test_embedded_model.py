"""The embedded model, as it is shipped, draws through the same path as any other pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.sweep import load_sweep


def test_its_facts_come_from_its_defaults() -> None:
    facts = model_facts("embedded")
    assert facts.pipeline == "StableDiffusionPipeline"
    assert (facts.model, facts.defaults.width, facts.defaults.height) == ("embedded", 128, 128)
    facts.check_size(facts.defaults.width, facts.defaults.height, where="here")


@pytest.mark.slow
def test_the_demo_s_pictures_are_drawn_alike_alone_and_together() -> None:
    demo = Path(__file__).parents[2] / "examples" / "demo.yaml"
    recipes = list(open_matrix(load_sweep(demo)))
    assert len(recipes) == 96
    chosen = recipes[::24]
    together = list(open_backend("embedded", device="cpu", batch_size=4).draw(chosen))
    alone = list(open_backend("embedded", device="cpu", batch_size=1).draw(chosen))
    for one, other in zip(together, alone, strict=True):
        assert one.status == "ok", one.reason
        assert one.image is not None
        assert other.image is not None
        assert one.image.std() > 10
        distance = np.abs(one.image.astype(int) - other.image)
        assert distance.mean() < 0.5  # rounding, grown over the steps by guidance
        assert np.quantile(distance, 0.999) <= 8
