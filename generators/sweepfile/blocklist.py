"""Words and names that prompts must not hold, found whatever their case, accents, spacing or look-alike letters.

Text is compared by its letters and digits alone: decomposed (NFKD), without accents and invisible characters,
case-folded, Cyrillic and Greek look-alikes read as Latin, weights of prompt syntaxes taken out. A term matches whole
words, also when they are run together or spelled out letter by letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited

MAX_BYTES: Final = 16 << 20
# Letters that look like Latin ones (after Unicode's confusables.txt), in lower case.
_LOOKS_LIKE: Final = str.maketrans(
    "абвгдезикмнорстухьіјѕԁԛԝһӏαβεγικνορτυχωηϲϳ",
    "abbrdezukmhopctyxbijsdqwhlabeyikvoptuxwncj",
)
_WEIGHTS: Final = re.compile(r":\s*[+-]?[\d.]+\s*(?=\))|(?<=\))[\d.]+|\bBREAK\b")
_WORDS: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


class Blocklist:
    """Terms with the place that each one stands at."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        """`terms`: term → where it is listed ("artists.txt:12")."""
        self._spaced: dict[str, tuple[str, str]] = {}
        self._unspaced: dict[str, tuple[str, str]] = {}
        for term, where in terms.items():
            key = "".join(words(term))
            kept = self._unspaced if key and _is_unspaced(key) else self._spaced
            if key:
                kept.setdefault(key, (term, where))
        self._longest = max(map(len, self._spaced), default=0)

    def __bool__(self) -> bool:
        return bool(self._spaced or self._unspaced)

    def find(self, text: str) -> tuple[str, str] | None:
        """The first term that the text holds, and where it is listed; None when it holds none."""
        found = words(text)
        for start in range(len(found)):
            joined = ""
            for word in found[start:]:
                joined += word
                if len(joined) > self._longest:
                    break
                if joined in self._spaced:
                    return self._spaced[joined]
        whole = "".join(found)
        return next((term for key, term in self._unspaced.items() if key in whole), None)


def words(text: str) -> list[str]:
    """The words of a text in the form in which they are compared."""
    decomposed = unicodedata.normalize("NFKD", _WEIGHTS.sub(" ", text))
    plain = "".join(
        letter
        for letter in decomposed
        if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"
    )
    return _WORDS.findall(plain.casefold().translate(_LOOKS_LIKE))


def read_blocklist(path: Path, *, where: str) -> dict[str, str]:
    """The terms of a text file, one per line, with their places; blank lines and lines from # on are left out.

    Raises InputError when the file is missing or is not UTF-8.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}", where=where)
    try:
        lines = read_limited(path, max_bytes=MAX_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason})", where=str(path)) from error
    terms = {line.split("#")[0].strip(): f"{path.name}:{number}" for number, line in enumerate(lines, 1)}
    terms.pop("", None)
    return terms


def from_words(listed: Iterable[str], where: str) -> dict[str, str]:
    """Terms that stand in a policy itself."""
    return dict.fromkeys(listed, where)


def _is_unspaced(key: str) -> bool:
    return any(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in key)
