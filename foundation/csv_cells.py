"""CSV for people: no cell that a spreadsheet would run as a formula, and every row on a line of its own.

A cell that begins with one of = + - @, a tab or a line break is run by spreadsheet programs (OWASP, "CSV
Injection"). Such text gets an apostrophe in front, as OWASP advises; numbers stay numbers. So does text that
begins with apostrophes before one of them, so that taking one apostrophe away always brings the text back.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, TextIO

_FORMULA = re.compile(
    r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
)  # the last four: the same signs in full width
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def safe_cell(value: Any) -> Any:
    """The value as a cell that no spreadsheet runs: text that would be run gets an apostrophe in front."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


class CsvWriter:
    """Writes rows to a text file opened with newline="". `raw` leaves every cell as it is.

    Lines end in "\\n". Text with any line break is quoted; Python's own writer leaves a lone "\\r" bare when
    lines end in "\\n", and readers take it for the end of the row.
    """

    def __init__(self, file: TextIO, *, raw: bool = False) -> None:
        self._file = file
        self._raw = raw
        self._line = io.StringIO(newline="")
        self._writer = csv.writer(self._line, lineterminator="\r\n")
        self.guarded = 0  # cells that got an apostrophe

    def row(self, cells: Iterable[Any]) -> None:
        """Write one row; None becomes an empty cell."""
        kept = list(cells)
        if not self._raw:
            safe = [safe_cell(cell) for cell in kept]
            self.guarded += sum(new is not old for new, old in zip(safe, kept, strict=True))
            kept = safe
        self._line.seek(0)
        self._line.truncate()
        self._writer.writerow(kept)
        self._file.write(self._line.getvalue().removesuffix("\r\n") + "\n")
