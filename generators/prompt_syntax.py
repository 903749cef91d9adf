"""Parses prompts in the syntax of Stable Diffusion web UI ("a1111") into pieces of text with weights.

`(word)` weighs 1.1, `((word))` 1.21, `(word:1.3)` 1.3, `[word]` 1/1.1; a backslash makes a bracket literal and
`BREAK` begins a new chunk. Weights of nested brackets multiply; brackets left open reach to the end.
Imports nothing heavy: planning checks prompts with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nonesuch.foundation.errors import InputError

Syntax: TypeAlias = Literal["plain", "a1111", "compel"]
PLAIN: Final = "plain"
ROUND: Final = 1.1  # what one pair of round brackets multiplies by
CHUNK: Final = 75  # tokens of CLIP's 77 that are a prompt's own
BACKTRACK: Final = 20  # a full chunk ends after its last comma, if that lies among its last so many tokens

_WEIGHT: Final = re.compile(r":\s*([+-]?[.\d]+)\s*\)")
_BREAK: Final = re.compile(r"\s*\bBREAK\b\s*")
_SPECIAL: Final = frozenset("\\()[]:")
# What the web UI reads otherwise, and what can't be drawn as a piece of text with a weight.
_EDITING: Final = re.compile(r"(?<!\\)\[[^\[\]]*:\s*[\d.]+\s*\]")
_ALTERNATING: Final = re.compile(r"(?<!\\)\[[^\[\]]*\|[^\[\]]*\]")
_NETWORK: Final = re.compile(r"<(lora|hypernet|lyco):[^>]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text with one weight, or the end of a chunk."""

    text: str
    weight: float = 1.0
    ends_chunk: bool = False  # a BREAK; then text is ""


def parse_weights(prompt: str) -> tuple[Piece, ...]:
    """The pieces of a prompt, neighbours of equal weight joined; an empty prompt is one empty piece.

    >>> parse_weights("a (red:1.3) fox")
    (Piece(text='a ', weight=1.0, ends_chunk=False), Piece(text='red', weight=1.3, ends_chunk=False), Piece(text=' fox', weight=1.0, ends_chunk=False))

    Raises InputError for a weight that is no number.
    """
    pieces: list[Piece] = []
    opened: list[tuple[str, int]] = []  # bracket, and how many pieces came before it
    at = 0
    while at < len(prompt):
        letter = prompt[at]
        weight = _WEIGHT.match(prompt, at) if letter == ":" else None
        if letter == "\\":
            escaped = prompt[at + 1 : at + 2]
            if escaped in ("(", ")", "[", "]", "\\") and escaped:
                pieces.append(Piece(escaped))
                at += 1
            at += 1
        elif letter in "([":
            opened.append((letter, len(pieces)))
            at += 1
        elif weight is not None and _close(opened, "(", pieces, weight[1]):
            at = weight.end()
        elif (letter == ")" and _close(opened, "(", pieces, None)) or (
            letter == "]" and _close(opened, "[", pieces, None)
        ):
            at += 1
        else:
            end = weight.end() if weight is not None else at + 1
            while end < len(prompt) and prompt[end] not in _SPECIAL:
                end += 1
            pieces += _broken(prompt[at:end])
            at = end
    for bracket in ("(", "["):
        while _close(opened, bracket, pieces, None):
            pass
    return _joined(pieces) or (Piece(""),)


def check_prompt(prompt: str, *, where: str) -> None:
    """Raise InputError for what the web UI understands and pieces of text with weights can't say."""
    hint = "Write the brackets with a backslash to mean them literally, or leave prompt_syntax out."
    if (found := _NETWORK.search(prompt)) is not None:
        raise InputError(
            f"{found[0]} names a network in the prompt",
            where=where,
            hint="Name it under settings: {loras: [{path: …, weight: …}]}.",
        )
    for pattern, name in ((_EDITING, "prompt editing"), (_ALTERNATING, "alternating words")):
        if (found := pattern.search(prompt)) is not None:
            raise InputError(f"{found[0]} is {name}, which is not supported", where=where, hint=hint)
    if re.search(r"\bAND\b", prompt):
        raise InputError("AND composes prompts, which is not supported", where=where, hint=hint)
    try:
        parse_weights(prompt)
    except InputError as error:
        raise InputError(error.message, where=where, hint=error.hint) from error


def _close(opened: list[tuple[str, int]], bracket: str, pieces: list[Piece], weight: str | None) -> bool:
    """Close the innermost open bracket of a kind and weigh what came since; False when none is open.

    Brackets of the other kind that were opened inside it stay open, as in the web UI.
    """
    place = next((i for i in reversed(range(len(opened))) if opened[i][0] == bracket), None)
    if place is None:
        return False
    factor = ROUND if bracket == "(" else 1 / ROUND
    if weight is not None:
        try:
            factor = float(weight)
        except ValueError as error:
            raise InputError(f"{weight!r} is not a weight", where="prompt") from error
    first = opened.pop(place)[1]
    for index in range(first, len(pieces)):
        piece = pieces[index]
        pieces[index] = Piece(piece.text, piece.weight * factor, piece.ends_chunk)
    return True


def _broken(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    for place, part in enumerate(_BREAK.split(text)):
        if place:
            pieces.append(Piece("", ends_chunk=True))
        pieces.append(Piece(part))
    return pieces


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if piece.ends_chunk:
            joined.append(Piece("", ends_chunk=True))
        elif last is not None and not last.ends_chunk and last.weight == piece.weight:
            joined[-1] = Piece(last.text + piece.text, piece.weight)
        elif piece.text:
            joined.append(piece)
    return tuple(joined)
