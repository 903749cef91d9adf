"""Names without folders: what is cut, and what only looks like a path."""

from __future__ import annotations

import json

import pytest

from nonesuch.foundation.naming import (
    file_name,
    json_without_folders,
    names_folders,
    shown_names,
    without_folders,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/home/ada/models/flux", "flux"),
        ("/home/ada lovelace/my models/flux dev/", "flux dev"),
        ("~/models/flux", "flux"),
        ("./flux", "flux"),
        ("C:\\Users\\ada\\flux.safetensors", "flux.safetensors"),
        ("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-dev"),
        ("https://example.org/home/ada", "https://example.org/home/ada"),
        ("/imagine prompt: an owl / a fox", "/imagine prompt: an owl / a fox"),
        ("images/demo/ab/abc.png", "images/demo/ab/abc.png"),
    ],
)
def test_files_of_this_machine_are_named_without_their_folders(text: str, name: str) -> None:
    assert file_name(text) == name


def test_paths_amid_words_and_in_json_are_cut() -> None:
    told = "can't read '/home/ada/pictures/a.png': see https://example.org/a/b, and/or 3/4"
    assert without_folders(told) == "can't read 'a.png': see https://example.org/a/b, and/or 3/4"
    assert names_folders(told)
    assert not names_folders(without_folders(told))
    ways = {"controls": [{"model": "/home/ada/canny", "strength": 0.5}], "note": "a/b"}
    assert json.loads(json_without_folders(json.dumps(ways))) == {
        "controls": [{"model": "canny", "strength": 0.5}],
        "note": "a/b",
    }
    assert json_without_folders("{broken") == "{broken"


def test_two_folders_of_one_name_stay_apart() -> None:
    assert shown_names(["/a/m", "/b/m", "m"]) == {"/a/m": "m", "/b/m": "m (2)", "m": "m (3)"}
