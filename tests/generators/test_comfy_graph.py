"""Workflows marked so that ComfyUI's node cache has never seen them: any graph, the same drawing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from remote_servers import ComfyServer

from nonesuch.generators.backends.remote.comfy_graph import marked_anew

MARK = "012345678"
_VALUES = st.one_of(st.integers(), st.text(max_size=4), st.booleans(), st.lists(st.integers(), max_size=3))


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Nodes that link to earlier ones alone, with ids as ComfyUI's editor gives them."""
    ids = draw(
        st.lists(st.from_regex(r"[1-9]\d?(:\d)?", fullmatch=True), min_size=1, max_size=8, unique=True)
    )
    made: dict[str, dict[str, Any]] = {}
    for key in ids:
        plain = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=2)
        links = st.dictionaries(
            st.sampled_from("xyz"), st.tuples(st.sampled_from(list(made)), st.integers(0, 2)).map(list), max_size=2
        ) if made else st.just({})  # fmt: skip
        kind = draw(st.sampled_from(["Loader", "KSampler", "SaveImage"]))
        made[key] = {"class_type": kind, "inputs": {**draw(plain), **draw(links)}}
    return made


def is_link(graph: dict[str, Any], value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] in graph


@given(graphs())
def test_no_node_has_a_key_that_the_cache_knows_and_nothing_else_changes(graph: dict[str, Any]) -> None:
    before = json.dumps(graph)
    marked = marked_anew(graph, MARK)
    assert json.dumps(graph) == before
    assert list(marked) == [f"{key}{MARK}" for key in graph]
    cache = ComfyServer()
    graph = {  # without lists that are no links, which the fake's key would follow
        key: {**node, "inputs": {n: v for n, v in node["inputs"].items() if not isinstance(v, list) or is_link(graph, v)}}
        for key, node in graph.items()
    }  # fmt: skip
    marked = marked_anew(graph, MARK)
    assert not {cache.key(graph, key) for key in graph} & {cache.key(marked, key) for key in marked}
    for key, node in graph.items():
        inputs = dict(marked[f"{key}{MARK}"]["inputs"])
        links = {name for name, value in node["inputs"].items() if is_link(graph, value)}
        assert (inputs.pop("nonesuch_anew", None) is None) == bool(links)
        assert inputs == {
            name: [f"{value[0]}{MARK}", value[1]] if name in links else value
            for name, value in node["inputs"].items()
        }
