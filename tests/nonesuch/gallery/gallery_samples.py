"""A catalog to look through: real recipes of the noise backend, small real PNG files, scores that are known."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import make_sweep

SUBJECTS = ["fox", "panda", "owl", "castle", "UFO"]
ARTISTS = ["Hokusai", "Munch", 'x"><script>document.title="owned"</script>']
SEEDS = 10
COUNT = len(SUBJECTS) * len(ARTISTS) * SEEDS
DIM = 8
SCHEMA = catalog_schema(
    {"subject": "string", "artist": "string"},
    {"aesthetic": "float32", "alignment": "float32", "rank": "int32", "blank": "bool"},
    DIM,
)
FAILED, FLAGGED, LARGE, TWINS = 7, 8, 3, (20, 21)  # places in the plan


def recipes() -> list[Recipe]:
    """The recipes of the sample sweep, in the plan's order."""
    sweep = make_sweep(
        {
            "name": "look",
            "model": "noise",
            "prompt": "a {{painted}} {subject} by {artist}",
            "facets": {"subject": SUBJECTS, "artist": ARTISTS},
            "seeds": {"count": SEEDS},
            "settings": {"width": 48, "height": 32, "steps": 2},
        }
    )
    return list(open_matrix(sweep))


def picture(number: int, size: tuple[int, int] = (48, 32)) -> Any:
    """A picture of its own for each number, uint8 [H, W, 3]."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def publish(out: Path, part: str = "look-0") -> list[dict[str, Any]]:
    """Write the sample catalog with its files; returns its rows."""
    rows = [row_of(out, recipe, number) for number, recipe in enumerate(recipes())]
    publish_shard(out, part, rows, SCHEMA)
    return rows


def row_of(out: Path, recipe: Recipe, number: int) -> dict[str, Any]:
    """One row, and its file."""
    facets = dict(recipe.facets)
    row: dict[str, Any] = {
        "recipe_id": recipe.id,
        "sweep": "look",
        "shard": 0,
        "plan_index": recipe.plan_index,
        "backend": recipe.backend,
        "model": recipe.model,
        "model_digest": recipe.model_digest,
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt,
        "seed": recipe.seed,
        "width": recipe.width,
        "height": recipe.height,
        "steps": recipe.steps,
        "guidance_scale": recipe.guidance_scale,
        "scheduler": recipe.scheduler,
        "dtype": recipe.dtype,
        "loras": "[]",
        "options": "{}",
        **facets,
        "status": "failed" if number == FAILED else "flagged" if number == FLAGGED else "ok",
        "reason": "it <b>broke</b>" if number == FAILED else None,
        "drawn_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
    }
    if number == FAILED:
        return row
    image = picture(TWINS[0] if number in TWINS else number, (480, 320) if number == LARGE else (48, 32))
    data = png(image)
    file = f"images/look/{recipe.id[:2]}/{recipe.id[:16]}.png"
    (out / file).parent.mkdir(parents=True, exist_ok=True)
    (out / file).write_bytes(data)
    angle = 2 * np.pi * number / COUNT
    return row | {
        "aesthetic": score(number),
        "alignment": None if number % 11 == 0 else round(number / COUNT, 3),
        "rank": number % 3 + 1,
        "blank": number % 5 == 0,
        "embedding": np.array([np.cos(angle), np.sin(angle), *[0] * (DIM - 2)], np.float16),
        **perceptual_hashes(image),
        "watermark_id": recipe.watermark_id,
        "file": file,
        "format": "png",
        "bytes": len(data),
        "sha256": sha256(data).hexdigest(),
    }


def score(number: int) -> float:
    """The aesthetic score: every tenth image shares one, so that ties occur."""
    return 5.0 if number % 10 == 0 else round(float(np.random.default_rng(number).uniform(0, 10)), 3)


def png(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def visitor(folder: Path) -> TestClient:
    """A visitor, by the name of Ada, of a server that has just been started over an output folder."""
    from nonesuch.web.app import create_app

    return TestClient(create_app(folder, who="Ada"), base_url="http://localhost", follow_redirects=False)
