from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from foundation.errors import InputError
from generators.plan import open_matrix
from generators.schema import SCHEMA_FILE, schema, schema_text
from generators.sweep import Sweep, load_sweep, make_sweep

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
GOOD = """\
name: night
model: noise
prompt: "a {subject} by {artist}"
negative: "blurry"
facets:
  subject: [panda, {name: elsa, text: "girl in a blue dress", negative: ice}]
  artist: [Hokusai, Munch]
seeds: {count: 8, base: 3}
settings: {steps: 20, guidance: 5.0, width: 512, height: 256, scheduler: dpmpp_2m}
"""

Write = Callable[[str], Path]


def test_the_shape_of_the_issue_is_read(write_sweep: Write) -> None:
    sweep = load_sweep(write_sweep(GOOD))
    assert sweep.name == "night"
    assert [value.name for value in sweep.values["subject"]] == ["panda", "elsa"]
    assert sweep.values["subject"][1].text == "girl in a blue dress"
    assert list(sweep.seed_values) == list(range(3, 11))
    assert sweep.source.text == GOOD


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says", "hint"),
    [
        ("seeds: {count", "seed: {count", 8, "seed", "unknown key 'seed'", "Did you mean 'seeds'?"),
        ("guidance:", "guidnce:", 9, "settings.guidnce", "unknown key", "Did you mean 'guidance'?"),
        ("name: elsa, text", "name: elsa, txt", 6, "facets.subject[1].txt", "unknown key", "'text'"),
        ("{count: 8, base", "{count: 8, bsae", 8, "seeds.bsae", "unknown key", "'base'"),
        ("name: night\n", "", 1, "name", "the key 'name' is missing", ""),
        ("name: elsa, ", "", 6, "facets.subject[1].name", "the key 'name' is missing", ""),
        ("name: night", "name: ../night", 1, "name", "'../night'", ""),
        ("steps: 20", "steps: many", 9, "settings.steps", "'many'", ""),
        ("steps: 20", "steps: 0", 9, "settings.steps", "greater than or equal to 1", ""),
        ("steps: 20", "steps: true", 9, "settings.steps", "not numbers", ""),
        ("guidance: 5.0", "guidance: .nan", 9, "settings.guidance", "finite", ""),
        ("dpmpp_2m", "dpmp_2m", 9, "settings.scheduler", "Did you mean 'dpmpp_2m'", ""),
        ("[Hokusai, Munch]", "[]", 7, "facets.artist", "at least 1 item", ""),
        ("[Hokusai, Munch]", "[Munch, Munch]", 7, "facets.artist", "two values are named 'Munch'", ""),
        ("[Hokusai, Munch]", "[Munch, {name: m, text: Munch}]", 7, "facets.artist", "the same text", ""),
        ("[Hokusai, Munch]", "[Munch, true]", 7, "facets.artist[1]", "True", ""),
        ("[Hokusai, Munch]", "[Munch, '']", 7, "facets.artist[1]", "is empty", ""),
        ("[Hokusai, Munch]", '[Munch, "\\ud800"]', 7, "facets.artist[1]", "half of a surrogate pair", ""),
        ("[Hokusai, Munch]", "{values: [a, b], choose: 3}", 7, "facets.artist", "at least 3 values", ""),
        ("[Hokusai, Munch]", "{values: [a, b], chose: 2}", 7, "facets.artist.chose", "unknown key", "'choose'"),
        ("[Hokusai, Munch]", "{file: none.txt}", 7, "facets.artist", "there is no file", ""),
        ("[Hokusai, Munch]", "{file: sweep.yaml}", 7, "facets.artist", "neither .txt nor .csv", ""),
        ("[Hokusai, Munch]", "{dynamic: '{a|b}', draws: 3}", 7, "facets.artist", "gave only 2", "Set draws to 2"),
        ("[Hokusai, Munch]", "{dynamic: '__none__', draws: 3}", 7, "facets.artist", "wildcard __none__", ""),
        ("[Hokusai, Munch]", "{dynamic: '{a|', draws: 3}", 7, "facets.artist", "can't be drawn from", ""),
        ("artist: [", "Artist: [", 5, "facets", "'Artist' can't name a facet", ""),
        ("artist: [", "seed: [", 5, "facets", "the catalog uses that name", ""),
        ("{count: 8, base: 3}", "8", 8, "seeds", "list", ""),
        ("{count: 8, base: 3}", "{count: 0}", 8, "seeds.count", "greater than or equal to 1", ""),
        ("{count: 8, base: 3}", "[1, 2, 1]", 1, "", "listed twice", ""),
        ("{count: 8, base: 3}", "{range: [9, 3]}", 1, "", "last seed lies before", ""),
        ("{count: 8, base: 3}", "{count: 2, base: 9223372036854775807}", 1, "", "the last one is over", ""),
        ("model: noise", "model: noise\nsample: 0", 3, "sample", "at least one cell", ""),
        ("model: noise", "model: noise\nsample: 1.5", 3, "sample", "at most 1", ""),
        ("model: noise", "model: noise\nwildcards: none", 3, "wildcards", "there is no folder", ""),
        ("model: noise", "model: noise\nmodel: noise", 3, "", "is not valid YAML", ""),
        ("model: noise", "model: [noise", 3, "", "is not valid YAML", ""),
        ("model: noise", "model: noise\n7: x", 1, "", "the key 7 is not text", "quotes"),
        ("settings: {", "settings: {size: 9x9, ", 9, "settings", "size goes without width", ""),
        ("settings: {", "settings: {model: noise, ", 1, "", "model is given twice", ""),
    ],
)  # fmt: skip
def test_a_complaint_names_line_and_key(
    write_sweep: Write, old: str, new: str, line: int, key: str, says: str, hint: str
) -> None:
    assert old in GOOD
    path = write_sweep(GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_sweep(path)
    assert caught.value.where == f"{path}:{line}" + (f": {key}" if key else "")
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "says"),
    [
        ("by {artist}", "by {painter}", 3, "prompt", "names the facet 'painter'"),
        ("by {artist}", "by {artist", 3, "prompt", "can't be read"),
        ("by {artist}", "by {artist} }", 3, "prompt", "can't be read"),
        ("by {artist}", "by {artist!r}", 3, "prompt", "is not a facet's name"),
        ("by {artist}", "by {artist:>9}", 3, "prompt", "is not a facet's name"),
        ("by {artist}", "by {artist.name}", 3, "prompt", "is not a facet's name"),
        ("by {artist}", "by {}", 3, "prompt", "is not a facet's name"),
        ("by {artist}", "by {{artist}}", 7, "facets.artist", "changes nothing"),
        ("height: 256", "height: 20000", 9, "settings.height", "less than or equal to"),
        ("width: 512", "width: 16001, limit: 3", 9, "settings.limit", "unknown key"),
        ("width: 512", "width: 512, loras: [a.safetensors]", 9, "settings.loras[0]", "no mapping"),
        ("name: night", "name: night\nlimit: 31", 2, "limit", "32 cells; the limit is 31"),
        ("name: night", "name: night\nzip: [[subject, mood]]", 2, "zip[0]", "zip names the facet 'mood'"),
        ("name: night", "name: night\nzip: [[subject, subject]]", 2, "zip[0]", "twice"),
        ("name: night", "name: night\nexclude: [{mood: sad}]", 2, "exclude[0]", "no facet 'mood'"),
        ("name: night", "name: night\nexclude: [{artist: Monet}]", 2, "exclude[0]", "no value 'Monet'"),
        ("name: night", "name: night\nexclude: [{}]", 2, "exclude[0]", "matches everything"),
        ("name: night", "name: night\nexclude: [{artist: [Munch, Hokusai]}]", 2, "exclude", "leave no"),
        ("model: noise", "model: 'comfyui:flow.json'", 2, "model", "no such file"),
        ("model: noise", "model: what is this", 2, "model", "neither embedded"),
        ("[Hokusai, Munch]", "[Hokusai, Munch]\n  steps: [10, x]", 8, "facets.steps[1]", "'x'"),
        ("[Hokusai, Munch]", "[Hokusai, Munch]\n  size: [64, 32x]", 8, "facets.size[1]", "'32x'"),
        ("[Hokusai, Munch]", "[Hokusai, Munch]\n  size: [64]\n  width: [64]", 9, "facets.width", "both set"),
    ],
)  # fmt: skip
def test_a_matrix_complains_with_line_and_key(
    write_sweep: Write, old: str, new: str, line: int, key: str, says: str
) -> None:
    assert old in GOOD
    path = write_sweep(GOOD.replace(old, new))
    with pytest.raises(InputError) as caught:
        open_matrix(load_sweep(path))
    assert caught.value.where == f"{path}:{line}: {key}"
    assert says in caught.value.message


def test_a_small_file_can_not_unfold_into_a_huge_one(write_sweep: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(InputError, match="too many"):
        load_sweep(write_sweep("\n".join(lines)))
    with pytest.raises(InputError, match="deeply nested"):
        load_sweep(write_sweep("name: " + "[" * 40 + "]" * 40))
    with pytest.raises(InputError):
        load_sweep(write_sweep("name: &a [*a]"))


@pytest.mark.parametrize(
    "text", ["", "3", "[a]", "name: x\n\tprompt: y", "a: !!python/object:os.system x", "\x00"]
)
def test_what_is_no_sweep_is_refused(write_sweep: Write, text: str) -> None:
    with pytest.raises(InputError):
        load_sweep(write_sweep(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_sweep(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(InputError, match="UTF-8"):
        load_sweep(tmp_path / "latin.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(Sweep.model_fields)), json_values, max_size=6))
def test_any_content_is_a_sweep_or_an_input_error(data: dict[str, object]) -> None:
    base = {"name": "x", "model": "noise", "prompt": "p", "limit": 1000}
    with contextlib.suppress(InputError):
        matrix = open_matrix(make_sweep(base | data))
        assert sum(1 for _ in matrix) == matrix.count()


def test_the_committed_schema_is_the_model_s() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == schema_text(), "run python -m generators.schema"
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_name_their_schema_and_keep_it(path: Path) -> None:
    text = path.read_text("utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == SCHEMA_FILE.resolve()
    jsonschema.validate(json.loads(json.dumps(YAML(typ="safe").load(text))), schema())
    sweep = load_sweep(path)
    matrix = open_matrix(make_sweep({**YAML(typ="safe").load(text), "model": "noise"}, path.parent))
    assert 0 < matrix.count() < 2_000
    assert sum(1 for _ in matrix) == matrix.count()
    assert sweep.name == path.stem
