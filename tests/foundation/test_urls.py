"""Places written as URLs, told from paths of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.urls import local_path, url_of


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///data/out", "/data/out"),
        ("file://localhost/data/out/", "/data/out"),
        ("file:/data/out", "/data/out"),  # what pathlib makes of it
        ("file:///a%20b/ü", "/a b/ü"),
        ("file:///", "/"),
        ("file", "file"),
        ("out/file:", "out/file:"),
    ],
)
def test_a_file_url_is_a_path(text: str, path: str) -> None:
    assert local_path(text) == Path(path)
    assert url_of(text) is None


def test_another_machine_s_file_url_is_refused() -> None:
    with pytest.raises(InputError, match="another machine"):
        local_path("file://server/share")
