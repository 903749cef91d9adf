"""Scoring whole batches: every declared column, one embedding, and scorers from other packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nonesuch.foundation.errors import DependencyError, InputError, ScoringError
from nonesuch.scoring import Caption, Encoder, open_scorers, score_images, scorers, scoring_columns
from nonesuch.scoring.base import Batch, Column, Setting
from nonesuch.scoring.scorers import DEFAULT_SCORERS, SCORERS
from tests.scoring.samples import picture

TEXTS = {"subject": {"fox": "red fox", "panda": "panda"}, "artist": {"Munch": "Edvard Munch"}}
CAPTIONS = [
    Caption("a red fox by Edvard Munch", {"subject": "fox", "artist": "Munch"}),
    Caption("a panda by Edvard Munch", {"subject": "panda", "artist": "Munch"}),
    Caption("a red fox by Edvard Munch", {"subject": "fox", "artist": "Munch"}),
]
IMAGES = [picture(1), picture(2, 60, 40), picture(3)]


@pytest.fixture
def head(tmp_path: Path, encoder: Encoder) -> str:
    """A linear head for the tiny encoder in the project's own format."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(5)
    weight = rng.standard_normal((1, encoder.dim)).astype(np.float32)
    save_file({"weight": weight, "bias": np.ones(1, np.float32)}, tmp_path / "taste.safetensors")
    card = {"name": "taste", "activation": "identity", "encoder_digest": encoder.digest}
    (tmp_path / "taste.json").write_text(json.dumps(card))
    return str(tmp_path / "taste.json")


def test_every_declared_column_is_filled_in_its_type(encoder: Encoder, head: str) -> None:
    opened = open_scorers(
        DEFAULT_SCORERS, encoder, facet_texts=TEXTS, template="a {subject} by {artist}", aesthetic_head=head
    )
    scores = score_images(IMAGES, CAPTIONS, encoder, opened)
    declared = scoring_columns(DEFAULT_SCORERS, list(TEXTS))
    assert {column.name for column in declared} == {*scores.columns, *scores.facts}
    for column in declared:
        assert column.doc
        if column.type == "string":
            assert isinstance(scores.facts[column.name], str)
        else:
            assert scores.columns[column.name].dtype == np.dtype(column.type)
            assert scores.columns[column.name].shape == (3,)
            assert np.isfinite(scores.columns[column.name]).all()
    assert scores.embeddings.shape == (3, encoder.dim)
    assert scores.facts["aesthetic_head"] == "taste"
    digest = sha256(Path(head).with_suffix(".safetensors").read_bytes()).hexdigest()
    assert scores.facts["aesthetic_digest"] == digest
    assert scores.facts["encoder"] == encoder.name
    assert scores.facts["encoder_tag"] == encoder.tag
    assert scores.facts["encoder_preprocessing"] == encoder.preprocessing
    assert scores.facts["encoder_digest"] == encoder.digest


def test_alignment_is_the_cosine_with_the_full_prompt(encoder: Encoder) -> None:
    scores = score_images(IMAGES, CAPTIONS, encoder, open_scorers(["alignment"], encoder))
    for place, caption in enumerate(CAPTIONS):
        expected = encoder.images([IMAGES[place]])[0] @ encoder.texts([caption.prompt])[0]
        assert scores.columns["alignment"][place] == pytest.approx(expected, abs=1e-4)


def test_pictures_are_encoded_once_for_all_scorers(
    encoder: Encoder, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = encoder._model  # type: ignore[attr-defined]
    encode, seen = model.encode_image, []

    def counting(batch: Any) -> Any:
        seen.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(model, "encode_image", counting)
    opened = open_scorers(DEFAULT_SCORERS, encoder, facet_texts=TEXTS, aesthetic_head=head)
    score_images(IMAGES, CAPTIONS, encoder, opened)
    assert sum(seen) == len(IMAGES)


def test_an_empty_batch(encoder: Encoder, head: str) -> None:
    opened = open_scorers(DEFAULT_SCORERS, encoder, facet_texts=TEXTS, aesthetic_head=head)
    scores = score_images([], [], encoder, opened)
    assert scores.embeddings.shape == (0, encoder.dim)
    assert all(len(values) == 0 for values in scores.columns.values())


def test_pictures_and_captions_must_match(encoder: Encoder) -> None:
    with pytest.raises(ScoringError, match="3 images came with 2 captions"):
        score_images(IMAGES, CAPTIONS[:2], encoder, [])


def test_unknown_scorers_and_twice_the_same(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="unknown scorer 'beauty'"):
        open_scorers(["beauty"], encoder)
    with pytest.raises(InputError, match="both fill the column 'alignment'"):
        open_scorers(["alignment", "alignment"], encoder)


class _Bad:
    """A user's scorer whose answer the test chooses."""

    name = "bad"
    answer: Any = None

    def __init__(self, setting: Setting) -> None:
        self.facets: Sequence[str] = ()
        self.facts: dict[str, str] = {}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (Column("badness", "float32", "how bad"),)

    def score(self, batch: Batch) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "declares the columns"),
        ({"badness": np.zeros(3), "more": np.zeros(3)}, "declares the columns"),
        ({"badness": np.zeros(2)}, "not one value for each"),
        ({"badness": np.zeros((3, 1))}, "not one value for each"),
        (ZeroDivisionError("division by zero"), "'bad' failed"),
    ],
)
def test_a_scorers_mistake_is_named(encoder: Encoder, answer: Any, message: str) -> None:
    scorer = _Bad(Setting(encoder))
    scorer.answer = answer
    with pytest.raises(ScoringError, match=message):
        score_images(IMAGES, CAPTIONS, encoder, [scorer])


PLUGIN = """
import numpy as np
from nonesuch.scoring import Column

class Redness:
    name = "redness"
    facets = ()

    def __init__(self, setting):
        self.facts = {"redness_version": "7"}

    @staticmethod
    def columns(facets):
        return (Column("redness", "float32", "mean of red"), Column("redness_version", "string", "its version"))

    def score(self, batch):
        return {"redness": np.array([image[..., 0].mean() for image in batch.images])}
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entry points of an installed package: a working scorer and one whose module is gone."""
    (tmp_path / "redness_plugin.py").write_text(PLUGIN)
    info = tmp_path / "redness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: redness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nonesuch.scorers]\nredness = redness_plugin:Redness\nbroken = no_such_module:Thing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(SCORERS, "_entry_points_read", False)
    monkeypatch.setattr(SCORERS, "_entry_points", {})
    monkeypatch.setattr(SCORERS, "_factories", dict(SCORERS._factories))


@pytest.mark.usefixtures("plugin")
def test_an_installed_scorer_appears_as_a_column(encoder: Encoder) -> None:
    assert "redness" in list(scorers.SCORERS)
    names = ["alignment", "redness"]
    assert [c.name for c in scoring_columns(names)][-3:] == ["alignment", "redness", "redness_version"]
    scores = score_images(IMAGES, CAPTIONS, encoder, open_scorers(names, encoder))
    assert scores.columns["redness"] == pytest.approx([image[..., 0].mean() for image in IMAGES], rel=1e-5)
    assert scores.columns["redness"].dtype == np.float32
    assert scores.facts["redness_version"] == "7"


@pytest.mark.usefixtures("plugin")
def test_a_scorer_that_cannot_be_imported_is_named_with_its_package() -> None:
    with pytest.raises(DependencyError, match="'broken' of the package redness"):
        scoring_columns(["broken"])


def test_columns_are_known_without_heavy_imports() -> None:
    script = (
        "import sys\n"
        "from nonesuch.scoring import scoring_columns, DEFAULT_SCORERS\n"
        "print([c.name for c in scoring_columns(DEFAULT_SCORERS, ['artist'])])\n"
        "print('HEAVY', sorted({'torch', 'open_clip', 'cv2', 'scipy', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    assert "'rank_artist', 'prob_artist'" in done.stdout
