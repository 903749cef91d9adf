"""The web UI's styles.csv: named pieces of text that are added to a prompt and its negative.

Its rule: a style that holds `{prompt}` puts the prompt in that place; any other is appended after a comma.
Several styles are applied one after another.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited

MAX_BYTES: Final = 16 << 20
_COLUMNS: Final = ("name", "prompt", "negative_prompt")


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """One row of a styles.csv."""

    name: str
    prompt: str = ""
    negative: str = ""

    def dress(self, prompt: str, negative: str) -> tuple[str, str]:
        """Prompt and negative prompt with the style on them."""
        return _merged(self.prompt, prompt), _merged(self.negative, negative)


def read_styles(path: Path, *, where: str) -> Mapping[str, PromptStyle]:
    """The styles of a file by name, in its order; of two rows of one name the last holds, as in the web UI.

    Rows without a prompt and without a negative one are headings and left out.
    Raises InputError for a missing or unreadable file and for one without the columns name and prompt.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=where)
    try:
        text = read_limited(path, max_bytes=MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines(keepends=True)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"can't be read as CSV ({error})", where=str(path)) from error
    found: dict[str, PromptStyle] = {}
    for row in rows:
        if "name" not in row or not ({"prompt", "text"} & set(row)):
            raise InputError(
                f"{path.name} has no columns {', '.join(_COLUMNS)}",
                where=where,
                hint="It is the web UI's styles.csv: name,prompt,negative_prompt.",
            )
        # files from before negative prompts existed call the prompt text
        prompt, negative = row.get("prompt") or row.get("text") or "", row.get("negative_prompt") or ""
        name = (row["name"] or "").strip()
        if name and (prompt or negative):
            found[name] = PromptStyle(name, prompt, negative)
    if not found:
        raise InputError(f"{path.name} holds no styles", where=where)
    return found


def chosen_styles(
    path: Path, names: tuple[str, ...] | None, *, where: str, none: str = "none"
) -> tuple[PromptStyle, ...]:
    """The named styles of a file, all of them when no names are given; `none` stands for no style."""
    styles = read_styles(path, where=where)
    if names is None:
        return tuple(styles.values())
    unknown = [name for name in names if name not in styles and name != none]
    if unknown:
        known = ", ".join(list(styles)[:20]) + (", …" if len(styles) > 20 else "")
        raise InputError(f"{path.name} has no style {unknown[0]!r}", where=where, hint=f"Styles: {known}.")
    return tuple(styles.get(name, PromptStyle(none)) for name in names)


def _merged(style: str, prompt: str) -> str:
    if "{prompt}" in style:
        return style.replace("{prompt}", prompt)
    return ", ".join(part for part in (prompt.strip(), style.strip()) if part) if style.strip() else prompt
