"""The mark end to end on real pictures: what goes in comes out, from damaged copies too, and nowhere else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data, metrics

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.watermark import detect, embed
from nonesuch.provenance.watermark.pattern.layout import PUBLIC_KEY

PAYLOAD = 0xFEDCBA9876543210


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="module")
def marked(photo: np.ndarray) -> np.ndarray:
    return embed(photo, PAYLOAD)


def saved(image: np.ndarray, form: str, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def luma(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("L"))


def test_clean_copy_returns_payload_and_place(marked: np.ndarray) -> None:
    found = detect(marked)
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.transform.scale == 1.0
    assert found.transform.rotation == 0.0
    assert not found.transform.flip
    assert found.false_alarm <= 1e-9


def test_quality_keeps_its_floors(photo: np.ndarray, marked: np.ndarray) -> None:
    assert metrics.peak_signal_noise_ratio(photo, marked) >= 44.0
    assert metrics.structural_similarity(luma(photo), luma(marked)) >= 0.99


@pytest.mark.parametrize("side", [128, 200, 256])
@pytest.mark.parametrize(
    "name", ["brick", "grass", "gravel", "cell", "coffee", "rocket", "chelsea", "camera"]
)
def test_small_pictures_are_marked_as_strongly_as_they_need(name: str, side: int) -> None:
    """Of these textures some were lost when every small picture got the same strength."""
    whole = getattr(data, name)()
    picture = whole if whole.ndim == 3 else np.repeat(whole[..., None], 3, axis=2)
    for offset in (0, 40):
        cut = np.ascontiguousarray(picture[offset : offset + side, offset : offset + side, :3])
        given = embed(cut, PAYLOAD)
        assert metrics.peak_signal_noise_ratio(cut, given) >= 33.5
        for copy in (given, saved(given, "JPEG", 90)):
            found = detect(copy, search="aligned")
            assert found is not None
            assert found.payload == PAYLOAD


def test_chroma_is_left_alone(photo: np.ndarray, marked: np.ndarray) -> None:
    change = marked.astype(int) - photo.astype(int)
    inside = ((photo > 20) & (photo < 235)).all(axis=2)
    assert (change[inside].max(axis=1) == change[inside].min(axis=1)).all()


@pytest.mark.parametrize(("form", "quality"), [("JPEG", 90), ("JPEG", 50), ("WEBP", 80), ("WEBP", 50)])
def test_survives_compression(marked: np.ndarray, form: str, quality: int) -> None:
    found = detect(saved(marked, form, quality), search="aligned")
    assert found is not None
    assert found.payload == PAYLOAD


@pytest.mark.parametrize("offset", [(0, 0), (37, 91), (150, 149)])
def test_survives_a_crop_anywhere(marked: np.ndarray, offset: tuple[int, int]) -> None:
    y, x = offset
    found = detect(np.ascontiguousarray(marked[y : y + 362, x : x + 362]), search="aligned")
    assert found is not None
    assert found.payload == PAYLOAD


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_reports_flip_and_quarter_turns(marked: np.ndarray, flip: bool, quarters: int) -> None:
    changed = np.ascontiguousarray(np.rot90(marked[:, ::-1] if flip else marked, quarters))
    found = detect(changed, search="aligned")
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.transform.flip is flip
    assert found.transform.rotation % 360 == 90 * quarters


def test_unmarked_picture_has_no_mark(photo: np.ndarray) -> None:
    assert detect(photo) is None


def test_another_key_reads_nothing(photo: np.ndarray, marked: np.ndarray) -> None:
    private = embed(photo, PAYLOAD, key=b"a private key")
    assert detect(marked, key=b"a private key") is None
    assert detect(private) is None
    assert detect(private, key=b"another key") is None
    found = detect(private, key=b"a private key")
    assert found is not None
    assert found.payload == PAYLOAD
    assert detect(marked, key=PUBLIC_KEY) is not None


@pytest.mark.parametrize("payload", [0, 1, 2**63, 2**64 - 1])
def test_every_payload_fits(photo: np.ndarray, payload: int) -> None:
    found = detect(embed(photo[:256, :256], payload), search="aligned")
    assert found is not None
    assert found.payload == payload


@pytest.mark.parametrize(
    ("shape", "payload"), [((63, 200, 3), 1), ((200, 200), 1), ((200, 200, 3), -1), ((200, 200, 3), 2**64)]
)
def test_refuses_what_it_cannot_mark(shape: tuple[int, ...], payload: int) -> None:
    with pytest.raises(InputError):
        embed(np.zeros(shape, np.uint8), payload)


@pytest.mark.parametrize("level", [0, 20, 128, 255])
@pytest.mark.parametrize("side", [64, 512])
def test_the_least_strength_leaves_every_picture_whole(level: int, side: int) -> None:
    flat = np.full((side, side, 3), level, np.uint8)
    faint = embed(flat, 7, strength=0.5)
    assert np.abs(faint.astype(int) - flat).max() <= 4
    with pytest.raises(InputError, match="strength"):
        embed(flat, 7, strength=0.49)


def test_arguments_of_other_kinds_are_refused(photo: np.ndarray) -> None:
    assert np.array_equal(embed(photo, np.uint64(PAYLOAD)), embed(photo, PAYLOAD))
    with pytest.raises(InputError, match="whole number"):
        embed(photo, 5.0)
    with pytest.raises(InputError, match="no search"):
        detect(photo, search="everywhere")


def test_tiny_pictures_are_simply_unmarked() -> None:
    assert detect(np.zeros((20, 20, 3), np.uint8)) is None
