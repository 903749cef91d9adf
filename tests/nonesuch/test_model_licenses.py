"""Licences as model cards on this machine state them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.choosing.model_licenses import card_license, model_licenses


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: openrail\ntags: [x]\n---\n# Model", "openrail"),
        (
            "---\nlicense: other\nlicense_name: flux-dev\nlicense_link: LICENSE.md\n---\n",
            "flux-dev (LICENSE.md)",
        ),
        ("# Model\nlicense: mit", None),
        ("---\nlicense: [a, b]\n---", None),
        ("---\n: : {\n---", None),
        ("", None),
    ],
)
def test_a_card_states_its_licence_in_the_front_matter(card: str, license: str | None) -> None:
    assert card_license(card) == license


@given(st.text(max_size=200))
def test_any_card_is_read_or_left(text: str) -> None:
    assert card_license(f"---\n{text}\n---\n") is None or "license" in text


def test_folders_and_the_hubs_cache_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    cached = tmp_path / "cached.md"
    cached.write_text("---\nlicense: creativeml-openrail-m\n---\n")
    asked = []

    def look(repo: str, file: str, *, revision: str | None) -> str | None:
        asked.append((repo, file, revision))
        return str(cached) if repo == "owner/known" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    models = [(str(folder), None), ("owner/known", "abc"), ("owner/unknown", None), ("embedded", None)]
    assert model_licenses(models) == {str(folder): "apache-2.0", "owner/known": "creativeml-openrail-m"}
    assert asked == [("owner/known", "README.md", "abc"), ("owner/unknown", "README.md", None)]
