"""The catalog's values as a visitor reads them: scores, recipes, credentials, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment

from nonesuch.web.facts import plain
from nonesuch.web.gallery.filter_columns import Columns
from nonesuch.web.gallery.panel import Overview
from nonesuch.web.gallery.sweepfile import loras_of, options_of

Line = tuple[str, str]  # label and value


def add_filters(environment: Environment) -> None:
    """Let templates use `measure`, `thousands` and `words`."""
    environment.filters |= {"measure": measure, "thousands": thousands, "words": words}


def measure(value: Any, kind: str = "") -> str:
    """A number in about three digits, a date for a `time` in microseconds, text as it is, a dash for nothing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if kind == "time":
        return f"{datetime.fromtimestamp(int(value) / 1e6, UTC):%Y-%m-%d %H:%M}"
    if kind == "bool" or isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        digits = (
            0 if abs(value) >= 1000 or value == 0 else 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1
        )
        return f"{value:,.{digits}f}".replace("-", "−")
    return plain(value)


def thousands(number: int) -> str:
    """A whole number with commas."""
    return f"{number:,}"


def words(text: Any, most: int = 300) -> str:
    """Foreign text on one line, cut at `most` characters."""
    line = plain(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def recipe_lines(row: Mapping[str, Any], columns: Columns) -> list[Line]:
    """How an image was made."""
    loras = ", ".join(f"{path.rsplit('/', 1)[-1]} × {weight:g}" for path, _, weight in loras_of(row))
    options = options_of(row)
    lines = [
        *((name, row[name]) for name in columns.axes),
        ("Negative prompt", row["negative_prompt"]),
        ("Seed", row["seed"]),
        ("Model", row["model"]),
        ("Revision", row["model_revision"]),
        ("Weights", _short(row["model_digest"])),
        ("Size", f"{row['width']} × {row['height']} px" if row["width"] else None),
        ("Steps", row["steps"]),
        ("Guidance", row["guidance_scale"] is not None and f"{row['guidance_scale']:g}"),
        ("Scheduler", row["scheduler"]),
        ("Number type", row["dtype"]),
        ("LoRAs", loras),
        ("Options", ", ".join(f"{name} {value}" for name, value in options.items())),
        ("Strength", row["strength"] is not None and f"{row['strength']:g}"),
        ("Sweep", row["sweep"]),
        ("Drawn", row["drawn_at"] and f"{row['drawn_at']:%Y-%m-%d %H:%M} UTC"),
        ("On", row["device"]),
        ("Took", row["draw_seconds"] and f"{row['draw_seconds']:.2g} s"),
    ]
    return [(name, measure(value)) for name, value in lines if value not in (None, "", False)]


def credential_lines(row: Mapping[str, Any]) -> list[Line]:
    """What the file contains, as the catalog recorded it."""
    psnr = row["watermark_psnr"]
    lines = [
        ("Manifest", row["manifest_id"]),
        ("Manifest digest", _short(row["credential_digest"])),
        ("Watermark", f"{row['watermark_id']:016x}" if row["watermark_id"] else None),
        ("Watermark PSNR", f"{psnr:.1f} dB" if psnr is not None else None),
        ("File digest", _short(row["sha256"])),
        ("File", f"{str(row['format']).upper()}, {row['bytes']:,} bytes" if row["bytes"] else None),
        ("Recipe id", row["recipe_id"]),
    ]
    return [(name, plain(value)) for name, value in lines if value]


def score_lines(row: Mapping[str, Any], columns: Columns, about: Overview) -> list[dict[str, Any]]:
    """Each score of an image with its place, 0 to 100, between the catalog's lowest and highest."""
    found = []
    for name in columns.scores:
        value = row.get(name)
        spread = about.spreads.get(name)
        if value is None or spread is None or not math.isfinite(value):
            continue
        wide = spread.high - spread.low
        place = 100 * (float(value) - spread.low) / wide if wide else 50.0
        found.append(
            {"name": name, "value": measure(value), "place": round(min(100.0, max(0.0, place)), 1),
             "bars": spread.bars}
        )  # fmt: skip
    return found


def differences(rows: Sequence[Mapping[str, Any]], columns: Columns) -> list[dict[str, Any]]:
    """The facts and scores in which images differ: name, a value for each, and which is highest of a score."""
    names = [
        *columns.axes,
        "prompt",
        "negative_prompt",
        "model",
        "seed",
        "steps",
        "guidance_scale",
        "scheduler",
    ]
    found = []
    for name in dict.fromkeys([*columns.scores, *names]):
        values = [row.get(name) for row in rows]
        if len({str(value) for value in values}) < 2:
            continue
        # for a rank the lowest would be best; scores don't say which direction is better
        counts = name in columns.scores and columns.kinds[name] != "int"
        numbers = [v for v in values if counts and v is not None]
        best = max(numbers) if numbers else None
        found.append(
            {"name": name.replace("_", " "), "values": [measure(value) for value in values],
             "best": [best is not None and value == best for value in values]}
        )  # fmt: skip
    return found


def _short(digest: Any) -> str | None:
    text = str(digest or "")
    return f"{text[:16]}…" if len(text) > 24 and "@" not in text else text or None
