"""The watermarks in an image: nonesuch's own, the other algorithms that are installed, and programs' defaults.

All look-ups of an image by its watermark are here: `search_marks` for a verdict, `Payloads` for a look-up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nonesuch.foundation.errors import DependencyError
from nonesuch.foundation.images import RGB
from nonesuch.provenance import watermark
from nonesuch.provenance.verifying.verify_options import Search
from nonesuch.provenance.watermark import trustmark
from nonesuch.provenance.watermark.algorithms import ALGORITHMS
from nonesuch.provenance.watermark.chosen import OWN, open_algorithm

_FULL_SEARCH_PIXELS = (
    16_000_000  # larger images are searched as they stand, and for nonesuch's watermark only
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A watermark of 64 bits of another algorithm than nonesuch's."""

    name: str  # in the registry of watermarks
    algorithm: str  # in C2PA soft bindings
    payload: int
    false_alarm: float  # upper bound on the probability that a check reports an unmarked image


@dataclass(frozen=True, slots=True)
class Unread:
    """An algorithm that is installed and could not be looked for."""

    name: str  # in the registry of watermarks
    why: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The watermarks found in an image."""

    own: Any = None  # watermark.Detection | None
    others: tuple[Mark, ...] = ()
    unread: tuple[Unread, ...] = ()
    foreign: tuple[Any, ...] = ()  # watermark.foreign.ForeignMark

    @property
    def payloads(self) -> tuple[int, ...]:
        """The 64 bits of each watermark that can lead to a catalog's image, nonesuch's first."""
        own = () if self.own is None else (int(self.own.payload),)
        return (*own, *(mark.payload for mark in self.others))

    @property
    def generator(self) -> str | None:
        """The software that a foreign watermark names."""
        return str(self.foreign[0].generator) if self.foreign else None


class Payloads:
    """What an image's watermarks say, 64 bits each, nonesuch's first: read one by one, as far as they are asked for.

    `algorithm`, a name of C2PA soft bindings, limits them to one. `unread` fills as they are read.
    """

    def __init__(self, rgb: RGB, *, key: bytes | None, algorithm: str | None = None) -> None:
        self._rgb = rgb
        self._key = key
        self._algorithm = algorithm
        self.unread: tuple[Unread, ...] = ()

    def __iter__(self) -> Iterator[int]:
        if self._algorithm in (None, watermark.ALGORITHM):
            own = find_own(self._rgb, key=self._key, search="full")
            if own is not None:
                yield int(own.payload)
        only = None if self._algorithm is None else frozenset([self._algorithm])
        others, self.unread = find_others(self._rgb, only)
        yield from (mark.payload for mark in others)


def search_marks(
    rgb: RGB, *, search: Search, key: bytes | None, settled: bool, named: frozenset[str] = frozenset()
) -> Iterator[Marks]:
    """The watermarks of uint8 [H, W, 3], as known after each part of the search, the last one complete.

    The full search, which takes longest, is made when `settled` is False and nothing was found. `key`, a secret one,
    is looked for besides the public key. Other algorithms are looked for where they are installed, when they are
    among `named`, those that the credential names, or the full search found nothing.
    """
    from nonesuch.provenance.watermark.other_packages import read_foreign

    small = rgb.shape[0] * rgb.shape[1] <= _FULL_SEARCH_PIXELS
    whole = search == "full" and not settled
    marks = Marks(find_own(rgb, key=key, search="aligned"))
    if marks.own is None and small:
        yield marks
        marks = dataclasses.replace(marks, foreign=tuple(read_foreign(rgb)))
        if not marks.foreign and whole:
            marks = dataclasses.replace(marks, own=find_own(rgb, key=key, search="full"))
    yield marks
    others, unread = find_others(rgb, None if whole and marks.own is None else named)
    yield dataclasses.replace(marks, others=others, unread=unread)


def find_own(rgb: RGB, *, key: bytes | None, search: Search) -> Any:
    """The watermark.Detection of nonesuch's watermark in uint8 [H, W, 3], by a secret key, else by the public one, or None.

    Its bound on false alarms counts every key that was looked for.
    """
    searches: tuple[Search, ...] = ("aligned",) if search == "aligned" else ("aligned", "full")
    keys = (None,) if key is None else (key, None)
    for one in searches:
        for secret in keys:
            found = watermark.detect(rgb, key=secret, search=one)
            if found is not None:
                return dataclasses.replace(found, false_alarm=len(keys) * found.false_alarm)
    return None


def find_others(
    rgb: RGB, algorithms: frozenset[str] | None = None
) -> tuple[tuple[Mark, ...], tuple[Unread, ...]]:
    """The watermarks of the installed algorithms but nonesuch's own in uint8 [H, W, 3], and what could not be looked for.

    `algorithms`, names of C2PA soft bindings, limits them; None looks for all. Never raises for what a package does.
    """
    marks: list[Mark] = []
    unread: list[Unread] = []
    if algorithms is not None and not algorithms - {watermark.ALGORITHM}:
        return (), ()
    for name in ALGORITHMS:
        if name == OWN or not _worth_opening(name, algorithms):
            continue
        try:
            opened = open_algorithm(name)
            if algorithms is not None and opened.name not in algorithms:
                continue
            found = opened.detect(rgb)
        except DependencyError as error:
            unread.append(Unread(name, str(error)))
        except Exception as error:  # another package's code, on an untrusted image
            unread.append(Unread(name, f"The watermark {name} could not be looked for: {error}."))
        else:
            if found is not None:
                marks.append(Mark(name, opened.name, found.payload, found.false_alarm))
    return tuple(marks), tuple(unread)


def _worth_opening(name: str, algorithms: frozenset[str] | None) -> bool:
    """TrustMark's networks take seconds to load, so that they wait until they can be of use."""
    if name != "trustmark":
        return True
    return trustmark.ready() and (algorithms is None or trustmark.NAME in algorithms)
