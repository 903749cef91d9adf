"""Printing data on stdout: tables for people, JSON lines and CSV for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nonesuch.foundation.csv_cells import CsvWriter

Row = Mapping[str, Any]


def print_json_lines(rows: Iterable[Row]) -> None:
    """One JSON object per line; NaN becomes null, times become ISO 8601."""
    for row in rows:
        print(json.dumps({key: _plain(value) for key, value in row.items()}, ensure_ascii=False))


def print_csv(rows: Sequence[Row], *, raw: bool = False) -> None:
    """A header and one line per row. Unless `raw`, text that a spreadsheet would run gets an apostrophe in front."""
    if not rows:
        return
    writer = CsvWriter(sys.stdout, raw=raw)
    writer.row(rows[0])
    for row in rows:
        writer.row(_plain(row[name]) for name in rows[0])


def print_table(rows: Sequence[Row], *, title: str | None = None) -> None:
    """A table for people; numbers to three decimals. Text is shown as text, never as markup."""
    if not rows:
        Console(stderr=True).print("nothing found")
        return
    table = Table(title=None if title is None else Text(title), title_justify="left", header_style="bold")
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat() if value == value else None  # NaT is not equal to itself
    return value


def _shown(value: Any) -> str:
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)
