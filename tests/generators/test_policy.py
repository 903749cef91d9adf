from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.blocklist import Blocklist, words
from nonesuch.generators.sweepfile.policy import check_policy, load_policy
from nonesuch.generators.sweepfile.sweep import make_sweep

LIST = Blocklist({"Greg Rutkowski": "artists.txt:2", "José": "artists.txt:3", "草間彌生": "artists.txt:4"})


@pytest.mark.parametrize(
    "prompt",
    [
        "a fox by Greg Rutkowski", "GREG  RUTKOWSKI", "greg\u00a0rutkowski", "greg-rutkowski, fox", "gregrutkowski",
        "g r e g  r u t k o w s k i", "gr\u200beg rutkowski", "Grеg Rutkоwski", "ｇｒｅｇ ｒｕｔｋｏｗｓｋｉ",
        "(greg:1.2) (rutkowski:1.3)", "(greg)1.2 rutkowski", "jose", "by JOSE\u0301", "a fox by 草間彌生風",
    ],
)  # fmt: skip
def test_a_blocked_name_is_found_however_it_is_written(prompt: str) -> None:
    assert LIST.find(prompt) is not None


@pytest.mark.parametrize("prompt", ["a fox", "gregory rutkowskiana", "greg and rutkowski", "josephine", ""])
def test_other_words_are_not(prompt: str) -> None:
    assert LIST.find(prompt) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_term_is_found_between_any_other_words(before: str, after: str) -> None:
    assert (
        LIST.find(f"{before} Greg Rutkowski {after}") is not None
        or "(" in before + after
        or ")" in before + after
    )


@given(st.text(max_size=60))
def test_words_are_compared_by_letters_and_digits_alone(text: str) -> None:
    assert words(" ".join(words(text))) == words(" ".join(words(" ".join(words(text)))))


def policy(folder: Path, text: str) -> Any:
    (folder / "artists.txt").write_text("# living\nGreg Rutkowski\n", "utf-8")
    (folder / "policy.yaml").write_text(text, "utf-8")
    return load_policy(folder / "policy.yaml")


def check(folder: Path, text: str, **keys: Any) -> None:
    sweep = {"name": "x", "model": "noise", "prompt": "a fox"} | keys
    check_policy(policy(folder, text), open_matrix(make_sweep(sweep, folder)))


@pytest.mark.parametrize(
    ("text", "keys", "said"),
    [
        ("blocklists: [artists.txt]", {"prompt": "a {s} by {a}", "facets": {"s": ["fox"], "a": ["Hokusai", "Gréğ Rutkowski"]}},
         r"holds 'Greg Rutkowski', which is blocked \(artists.txt:2\)[\s\S]*cell is s=fox, a=Gr"),
        ("\nblocked_words: [fox]", {}, r"policy.yaml[\s\S]*blocked_words"),
        ("models: [embedded, 'stabilityai/*']", {}, "model noise is not allowed"),
        ("backends: [diffusers]", {}, "drawing through noise is not allowed"),
        ("watermark: true", {"marking": {"watermark": False}}, "policy.yaml:1: watermark: .*watermark is turned off"),
        ("credentials: true", {"marking": {"credentials": False}}, "credentials is turned off"),
        ("safety_threshold: 0.5", {}, r"not 0.5 or above"),
        ("safety_threshold: 0.5", {"scoring": {"scorers": ["technical"], "safety_threshold": 0.6}}, "safety is not scored"),
        ("unsafe: blur", {}, "unsafe images are dealt with by keep"),
        ("max_images: 3", {"seeds": {"count": 4}}, "4 images are more than 3"),
        ("negative: [text, watermark]", {"negative": "text, blurry"}, "lacks 'watermark'"),
    ],
)  # fmt: skip
def test_what_a_policy_does_not_allow_is_told_with_the_cell(
    tmp_path: Path, text: str, keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        check(tmp_path, text, **keys)


def test_a_sweep_that_keeps_to_all_of_it_passes(tmp_path: Path) -> None:
    text = (
        "blocklists: [artists.txt]\nmodels: [noise]\nwatermark: true\ncredentials: true\nsafety_threshold: 0.5\n"
        "unsafe: blur\nmax_images: 4\nnegative: [text]\n"
    )
    check(tmp_path, text, negative="text", scoring={"safety_threshold": 0.5, "unsafe": "discard"})


@pytest.mark.parametrize(
    ("text", "said"),
    [("blockd: [x]", "unknown key 'blockd'"), ("watermark: false", "policy.yaml:1: watermark"),
     ("blocklists: [none.txt]", "no file"), ("- x", "mapping of keys")],
)  # fmt: skip
def test_a_broken_policy_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        policy(tmp_path, text)


def test_the_digest_covers_the_blocklists(tmp_path: Path) -> None:
    first = policy(tmp_path, "blocklists: [artists.txt]").digest
    assert policy(tmp_path, "blocklists: [artists.txt]").digest == first
    (tmp_path / "artists.txt").write_text("Somebody\n", "utf-8")
    assert load_policy(tmp_path / "policy.yaml").digest != first
