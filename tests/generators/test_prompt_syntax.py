from __future__ import annotations

import itertools
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.generators.prompt_syntax import Piece, check_prompt, parse_weights

words = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\\()[]:"), min_size=1, max_size=12
)
plain = words.filter(lambda text: "BREAK" not in text)
anything = st.lists(st.sampled_from([*"ab ,:.13\\()[]", "BREAK"]), max_size=40).map("".join)


def weights(prompt: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 4)) for piece in parse_weights(prompt)]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("\\(literal\\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("((twice))", [("twice", 1.21)]),
        ("[less]", [("less", 0.9091)]),
        ("(word:1.3)", [("word", 1.3)]),
        ("(word: +1.3 )", [("word", 1.3)]),
        ("word:1.3", [("word:1.3", 1.0)]),
        ("a) b]", [("a) b]", 1.0)]),
        # the example of the web UI's own parser
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1),
             ("sky", 1.4641), (".", 1.1)],
        ),
        ("", [("", 1.0)]),
    ],
)  # fmt: skip
def test_pieces_weigh_what_the_web_ui_says(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert weights(prompt) == pieces


def test_break_ends_a_chunk_also_within_brackets() -> None:
    assert parse_weights("a BREAK (b BREAK c:2)") == (
        Piece("a"), Piece("", ends_chunk=True), Piece("b", 2.0), Piece("", ends_chunk=True), Piece("c", 2.0),
    )  # fmt: skip
    assert parse_weights("BREAKFAST") == (Piece("BREAKFAST"),)


@given(plain)
def test_text_without_brackets_is_one_piece(text: str) -> None:
    assert parse_weights(text) == (Piece(text),)


@given(plain, st.integers(1, 6))
def test_nested_brackets_multiply(text: str, depth: int) -> None:
    (up,) = parse_weights("(" * depth + text + ")" * depth)
    (down,) = parse_weights("[" * depth + text + "]" * depth)
    assert math.isclose(up.weight, 1.1**depth, rel_tol=1e-9)
    assert math.isclose(up.weight * down.weight, 1.0, rel_tol=1e-9)


@given(plain, st.floats(0, 9).map(lambda value: round(value, 3)))
def test_a_named_weight_is_that_weight(text: str, weight: float) -> None:
    assert parse_weights(f"({text}:{weight})") == (Piece(text, weight),)


@given(st.text(st.sampled_from(list("ab()[]\\")), max_size=20))
def test_escaped_brackets_are_text(text: str) -> None:
    escaped = "".join(f"\\{letter}" if letter in "()[]\\" else letter for letter in text)
    assert parse_weights(escaped) == (Piece(text),)


@given(anything)
def test_any_text_is_pieces_or_a_message(prompt: str) -> None:
    with suppress(InputError):  # a weight such as 1.2.3
        pieces = parse_weights(prompt)
        assert pieces
        assert all(
            one.weight != other.weight or one.ends_chunk or other.ends_chunk
            for one, other in itertools.pairwise(pieces)
        )


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a [cat:dog:0.5]", "prompt editing"), ("a [cat|dog]", "alternating"), ("x <lora:ink:0.8>", "loras"),
        ("a cat AND a dog", "AND"), ("(cat:1.2.3)", "is not a weight"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(prompt: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_prompt(prompt, where="sweep.yaml:3")
