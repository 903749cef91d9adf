"""The watermark benchmark's table and plot."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from typing import Any

import numpy as np

from benchmarks.watermark_attacks import REQUIRED

Record = dict[str, Any]
_ROW, _CELL, _LEFT, _TOP = 18, 110, 170, 60  # pixels


def _columns(records: list[Record]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((record["method"], record["kind"]) for record in records))


def _rates(records: list[Record], attack: str) -> dict[tuple[str, str], tuple[int, int, float]]:
    """For each column: exact recoveries, trials, mean bit accuracy."""
    results = defaultdict(list)
    for record in records:
        if attack in record["attacks"]:
            results[record["method"], record["kind"]].append(record["attacks"][attack])
    return {
        column: (sum(r["exact"] for r in found), len(found), float(np.mean([r["bits"] for r in found])))
        for column, found in results.items()
    }


def table(records: list[Record], head: dict[str, str]) -> str:
    """Markdown: quality, speed, then exact recoveries (and mean bit accuracy) for each attack."""
    columns = _columns(records)
    lines = [f"Measured on {head['machine']}, {head['date']}; one core, process CPU time.", ""]
    lines.append("| | " + " | ".join(f"{method}, {kind}" for method, kind in columns) + " |")
    lines.append("|---|" + "---|" * len(columns))

    def row(title: str, cell: Any) -> None:
        lines.append(f"| {title} | " + " | ".join(cell(column) for column in columns) + " |")

    def of(column: tuple[str, str], key: str) -> list[float]:
        return [r[key] for r in records if (r["method"], r["kind"]) == column]

    row("pictures", lambda c: str(len(of(c, "psnr"))))
    row("PSNR dB, mean (least)", lambda c: f"{np.mean(of(c, 'psnr')):.1f} ({min(of(c, 'psnr')):.1f})")
    row("SSIM, mean (least)", lambda c: f"{np.mean(of(c, 'ssim')):.4f} ({min(of(c, 'ssim')):.4f})")
    row("marking ms, median", lambda c: f"{np.median(of(c, 'mark_ms')):.1f}")
    row(
        "reading ms unattacked, median",
        lambda c: (
            f"{np.median([a['none']['read_ms'] for a in of(c, 'attacks') if 'none' in a] or [np.nan]):.1f}"
        ),  # type: ignore[call-overload,index]
    )
    for attack in dict.fromkeys(name for record in records for name in record["attacks"]):
        rates = _rates(records, attack)
        mark = "" if attack in REQUIRED else " (reported)"
        row(
            attack + mark,
            lambda c, rates=rates: (
                f"{rates[c][0]}/{rates[c][1]} ({100 * rates[c][2]:.0f} %)" if c in rates else ""
            ),
        )
    wrong = sum(a["wrong"] for r in records if r["method"] == "nonesuch" for a in r["attacks"].values())
    lines += [
        "",
        f"Exact recoveries of trials (mean bit accuracy). Wrong payloads that nonesuch reported: {wrong}.",
    ]
    return "\n".join(lines) + "\n"


def plot(records: list[Record]) -> str:
    """SVG: a row for each attack, a cell for each method and kind, darker the more came back exactly."""
    columns = _columns(records)
    attacks = list(dict.fromkeys(name for record in records for name in record["attacks"]))
    width, height = _LEFT + _CELL * len(columns) + 10, _TOP + _ROW * len(attacks) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="8" y="18" font-size="13">Exact recoveries, per cent of trials</text>',
    ]
    for x, (method, kind) in enumerate(columns):
        centre = _LEFT + _CELL * x + _CELL / 2
        parts.append(f'<text x="{centre}" y="38" text-anchor="middle">{escape(method)}</text>')
        parts.append(f'<text x="{centre}" y="52" text-anchor="middle" fill="#666">{escape(kind)}</text>')
    for y, attack in enumerate(attacks):
        top = _TOP + _ROW * y
        colour = "black" if attack in REQUIRED else "#777"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end" fill="{colour}">{escape(attack)}</text>'
        )
        for column, (exact, trials, _) in _rates(records, attack).items():
            share = exact / trials
            left = _LEFT + _CELL * columns.index(column)
            shade = f"rgb({round(245 - 215 * share)},{round(245 - 145 * share)},{round(245 - 95 * share)})"
            ink = "white" if share > 0.5 else "black"
            parts.append(
                f'<rect x="{left + 1}" y="{top + 1}" width="{_CELL - 2}" height="{_ROW - 2}" fill="{shade}"/>'
            )
            parts.append(
                f'<text x="{left + _CELL / 2}" y="{top + 13}" text-anchor="middle" fill="{ink}">{100 * share:.0f}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"
