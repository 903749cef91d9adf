"""Licences of the models that drew a catalog, as their model cards on this machine name them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited

_MAX_CARD = 4 << 20  # bytes read of a model card


def model_licenses(models: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Licence by model, for each (model, revision) whose card is on this machine and states one.

    A model is a folder with a README.md, or a hub id whose card is in the hub's cache. Nothing is downloaded.
    """
    found: dict[str, str] = {}
    for model, revision in models:
        card = _card(model, revision)
        license = card_license(card) if card is not None else None
        if license is not None:
            found[model] = license
    return found


def card_license(text: str) -> str | None:
    """The licence in the front matter of a model card: its name, and its link when there is one."""
    if not text.startswith("---"):
        return None
    front = text.partition("---")[2].partition("\n---")[0]
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        told: Any = YAML(typ="safe", pure=True).load(front)
    except (YAMLError, ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("license"), str):
        return None
    name = told["license"]
    if name == "other" and isinstance(told.get("license_name"), str):
        name = told["license_name"]
    link = told.get("license_link")
    return f"{name} ({link})" if isinstance(link, str) else name


def _card(model: str, revision: str | None) -> str | None:
    path = Path(model) / "README.md"
    if not path.is_file():
        if model.count("/") != 1 or model.startswith(("/", ".", "~")):
            return None
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(model, "README.md", revision=revision)
        except HFValidationError:
            return None
        if not isinstance(cached, str):
            return None
        path = Path(cached)
    try:
        return read_limited(path, max_bytes=_MAX_CARD).decode("utf-8", "replace")
    except InputError:
        return None
