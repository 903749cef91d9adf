"""Events of picks, stars and notes: the state they add up to, and what they may hold.

An event is never changed or deleted; an undo is an event that names the one it takes back. What counts is
what no counting undo names, so an undo of an undo brings its event back.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from nonesuch.foundation.errors import InputError

Action = Literal["pick", "reject", "clear", "stars", "tag", "untag", "note", "compare", "undo"]
Verdict = Literal["picked", "rejected"]

MAX_NOTE = 2000  # characters
MAX_TAG = 40
MAX_WHO = 80
_RECIPE_ID = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(r"\w[\w .:/+\-]*")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one person did."""

    id: int  # place in the log, from 1; later events have greater ones
    when: datetime  # UTC
    who: str
    act: int  # id of the first event of the same act: what was said of many images at once is undone at once
    action: Action
    recipe_id: str  # the image; of a comparison the winner; of an undo that of the event it takes back
    stars: int | None = None  # 1 to 5
    text: str | None = None  # the tag, or the note; an empty note takes the old one away
    loser: str | None = None  # of a comparison
    undoes: int | None = None  # id of the event that this one takes back


@dataclass(frozen=True, slots=True)
class PickState:
    """What all counting events say of one image; of two people's words the later one holds."""

    verdict: Verdict | None
    stars: int | None  # 1 to 5
    tags: tuple[str, ...]  # sorted
    note: str | None
    who: str  # who spoke last
    when: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison of two images."""

    winner: str  # recipe id
    loser: str  # recipe id
    who: str
    when: datetime  # UTC


def live(events: Sequence[Event]) -> list[Event]:
    """The events that count, in order, without the undos; `events` must be in the order of their ids."""
    taken_back: set[int] = set()
    counting: list[Event] = []
    for event in reversed(events):
        if event.id in taken_back:
            continue
        if event.undoes is not None:
            taken_back.add(event.undoes)
        else:
            counting.append(event)
    return counting[::-1]


def fold(events: Iterable[Event]) -> PickState | None:
    """What the counting events of one image add up to; None when they say nothing of it any more."""
    verdict: Verdict | None = None
    stars: int | None = None
    tags: set[str] = set()
    note: str | None = None
    last: Event | None = None
    for event in events:
        match event.action:
            case "pick":
                verdict = "picked"
            case "reject":
                verdict = "rejected"
            case "clear":
                verdict, stars = None, None
            case "stars":
                stars = event.stars
            case "tag":
                tags.add(event.text or "")
            case "untag":
                tags.discard(event.text or "")
            case "note":
                note = event.text or None
            case _:
                continue
        last = event
    if last is None or not (verdict or stars or tags or note):
        return None
    return PickState(verdict, stars, tuple(sorted(tags)), note, last.who, last.when)


def checked_id(recipe_id: str) -> str:
    """The recipe id. Raises InputError unless it is 64 lower-case hex digits."""
    if not _RECIPE_ID.fullmatch(recipe_id):
        raise InputError(f"{recipe_id[:80]!r} is not a recipe id", hint="Give all of its 64 hex digits.")
    return recipe_id


def checked_stars(stars: int) -> int:
    """The number of stars. Raises InputError unless it is 1 to 5."""
    if isinstance(stars, bool) or stars not in (1, 2, 3, 4, 5):
        raise InputError(f"{stars!r} is not a number of stars", hint="Give 1 to 5; clear takes them away.")
    return stars


def checked_tag(name: str) -> str:
    """The tag in Unicode's composed form. Raises InputError for characters that a tag may not have."""
    tag = unicodedata.normalize("NFC", name).strip()
    if not _TAG.fullmatch(tag) or len(tag) > MAX_TAG:
        raise InputError(
            f"{name[:80]!r} can't be a tag",
            hint=f"Use up to {MAX_TAG} letters, digits, spaces and . : / + - _, beginning with a letter or digit.",
        )
    return tag


def checked_note(text: str) -> str:
    """The note in Unicode's composed form. Raises InputError when it is too long or holds control characters."""
    note = unicodedata.normalize("NFC", text).strip()
    if len(note) > MAX_NOTE:
        raise InputError(f"a note of {len(note):,} characters; the limit is {MAX_NOTE:,}")
    _check_printable(note, "a note", "\n\t")
    return note


def checked_who(who: str) -> str:
    """A person's name. Raises InputError when it is empty, too long or holds control characters."""
    name = unicodedata.normalize("NFC", who).strip()
    if not 0 < len(name) <= MAX_WHO:
        raise InputError(f"a person's name has 1 to {MAX_WHO} characters", where="who")
    _check_printable(name, "a person's name", "")
    return name


def _check_printable(text: str, what: str, besides: str) -> None:
    for char in text:
        # Cc and Cs: control characters, and halves of surrogate pairs, which UTF-8 can't hold.
        if unicodedata.category(char) in ("Cc", "Cs") and char not in besides:
            raise InputError(f"{what} can't hold the character U+{ord(char):04X}")
