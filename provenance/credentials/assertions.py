"""Reading the assertions of one manifest: the software, source types, soft bindings, the recipe.

The input is the SDK's JSON of an untrusted manifest: every type is checked before it is used.
"""

from __future__ import annotations

from typing import Any

from nonesuch.provenance import vocabulary
from nonesuch.provenance.marking.manifest import RECIPE_LABEL

_MAX_DEPTH = 32  # values within values


def signer_name(signature: dict[str, Any]) -> str | None:
    """The signing certificate's common name, with its organisation."""
    names = [text(signature.get("common_name")), text(signature.get("issuer"))]
    known = list(dict.fromkeys(name for name in names if name))
    return f"{known[0]} ({known[1]})" if len(known) == 2 else (known[0] if known else None)


def generator(manifest: dict[str, Any], assertions: list[dict[str, Any]]) -> str | None:
    """The software that made the image: the agent of the first action, else the claim generator."""
    for action in _actions(assertions):
        agent = action.get("softwareAgent")
        if isinstance(agent, dict) and agent.get("name"):
            return " ".join(str(agent[key]) for key in ("name", "version") if agent.get(key))
        if isinstance(agent, str) and agent:
            return agent
    for info in manifest.get("claim_generator_info") or ():
        if isinstance(info, dict) and info.get("name"):
            return " ".join(str(info[key]) for key in ("name", "version") if info.get(key))
    return text(manifest.get("claim_generator"))


def _actions(assertions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for assertion in assertions:
        if str(assertion.get("label", "")).startswith("c2pa.actions"):
            data = assertion.get("data")
            actions = data.get("actions") if isinstance(data, dict) else None
            found += [action for action in actions or () if isinstance(action, dict)]
    return found


def source_types(assertions: list[dict[str, Any]]) -> tuple[str, ...]:
    """Every digitalSourceType of the manifest, wherever in its assertions it stands."""
    found: list[str] = []

    def look(value: Any, depth: int) -> None:
        if depth > _MAX_DEPTH:
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                name = key.rsplit(":", 1)[-1].lower()
                if name == "digitalsourcetype" and isinstance(inner, str):
                    found.append(inner)
                else:
                    look(inner, depth + 1)
        elif isinstance(value, list):
            for inner in value:
                look(inner, depth + 1)

    for assertion in assertions:
        look(assertion.get("data"), 0)
    return tuple(dict.fromkeys(uri for uri in found if vocabulary.origin_of(uri) is not None))


def soft_bindings(assertions: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(algorithm, value) of every soft binding."""
    found = []
    for assertion in assertions:
        data = assertion.get("data")
        if str(assertion.get("label", "")).startswith("c2pa.soft-binding") and isinstance(data, dict):
            found += [
                (str(data.get("alg")), str(block.get("value")))
                for block in data.get("blocks") or ()
                if isinstance(block, dict)
            ]
    return tuple(found)


def recipe(assertions: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The org.nonesuch.recipe assertion."""
    for assertion in assertions:
        if assertion.get("label") == RECIPE_LABEL and isinstance(assertion.get("data"), dict):
            data: dict[str, Any] = assertion["data"]
            return data
    return None


def text(value: Any) -> str | None:
    """A value that is text and not empty, else None."""
    return value if isinstance(value, str) and value else None
