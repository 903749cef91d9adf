"""What is exported loads: names that a format has for itself, values that break tables, exports that went wrong."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from catalog_samples import make_row
from export_samples import image_bytes
from hypothesis import given
from hypothesis import strategies as st

from catalogs.exports import EXPORTERS
from catalogs.exports.job import Exported, ExportRequest
from catalogs.exports.name_spaces import export_names
from catalogs.exports.run import export_catalog
from catalogs.exports.selection import select
from catalogs.exports.splits import split_names
from catalogs.exports.stage import Stage
from catalogs.parts import publish_shard
from catalogs.query import Catalog
from catalogs.schema import catalog_schema
from foundation.errors import CatalogError, InputError

pytestmark = pytest.mark.slow

# facets under names that some format, reader or language has for itself
NAMES = (
    "image", "image_", "file_name", "file_names", "ref_file_name", "text", "txt", "json", "png", "jpg", "label",
    "split", "train", "id", "_id", "_type", "path", "filepath", "metadata", "media_type", "created_at", "pk", "clean",
    "save", "update", "__key__", "__url__", "key", "name", "list", "struct", "feature", "Select", "order by", "a.b", "a-b",
    "x" * 63, "part_id", "step", "cfg", "image_name", "user_name", "Sample", "FILE_NAME_X_FILE_NAME",
)  # fmt: skip
# values that break a table, a card or a name, without being wrong
VALUES = (
    "=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-0.5", "'=1", "a\rb", "a\nb", '"', "a,b;c\td", "|`x`|", "---", "<b>&amp;",
    "NA", "null", "None", " ", "кот", "犬", "हिन्दी", "e\u0301", "\u2028\x85\ufeff", "\x00", "y" * 200_000, "007", "1e9",
)  # fmt: skip


def catalog_of(
    root: Path, rows: Sequence[dict[str, Any]], facets: Sequence[str], scores: Sequence[str] = ()
) -> Catalog:
    """A catalog of real image files whose rows have those facets."""
    root.mkdir()
    full = []
    for index, row in enumerate(rows):
        data = image_bytes(index)
        (root / f"{index}.png").write_bytes(data)
        plain = {name: value for name, value in make_row(index).items() if name not in _DEMO}
        file = {"file": f"{index}.png", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        full.append({**plain, **file, **row})
    schema = catalog_schema(dict.fromkeys(facets, "string"), dict.fromkeys(scores, "float32"), None)
    publish_shard(root, "s-0", full, schema)
    return Catalog(root)


_DEMO = {"subject", "artist", "strokes", "alignment", "aesthetic", "subject_rank", "blank", "embedding"}


def export(catalog: Catalog, out: Path, format: str, *, split_by: str | None = None, **more: Any) -> Exported:
    chosen = select(catalog, order=["plan_index"], split_by=split_by, with_files=format != "csv")
    return export_catalog(chosen, out, ExportRequest(format, split_by=split_by, **more))


def loaded(out: Path, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(out), cache_dir=str(cache))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    rows = [
        {
            **{name: f"{name} {index}" for name in NAMES},
            "image": value,
            "Text_Score": math.nan if index else 1.0,
        }
        for index, value in enumerate(VALUES)
    ]
    return catalog_of(tmp_path_factory.mktemp("odd") / "gallery [a]*", rows, NAMES, ["Text_Score"])


@pytest.mark.parametrize("format", [*sorted(EXPORTERS), "jsonl"])
def test_every_name_and_value_comes_back(odd: Catalog, tmp_path: Path, format: str) -> None:
    jsonl = format == "jsonl"
    format, out = "hf-imagefolder" if jsonl else format, tmp_path / "an [a]*"
    if format in ("croissant", "hf-imagefolder", "hf-parquet", "webdataset"):
        with pytest.raises(InputError, match="for a pattern"):
            export(odd, out, format)
        out = tmp_path / "out"
    done = export(odd, out, format, jsonl=jsonl)
    assert done.checked is not None
    assert done.checked.rows == len(VALUES)
    record = json.loads((out / "export.json").read_text())
    assert record["read_back"]["rows"] == len(VALUES)
    assert record["renamed"] == done.renamed
    if format == "hf-parquet":
        assert done.renamed == {"image": "image_", "image_": "image__"}


@pytest.mark.parametrize("format", ["hf-imagefolder", "hf-parquet", "croissant"])
def test_a_facet_called_image_loads_beside_the_picture(odd: Catalog, tmp_path: Path, format: str) -> None:
    export(odd, tmp_path / "out", format)
    rows = loaded(tmp_path / "out", tmp_path / "cache")["train"]
    assert rows["image_"][:] == list(VALUES)
    assert rows["image__"][0] == "image_ 0"
    assert {picture.size for picture in rows["image"][:]} == {(32, 24)}
    if format == "hf-imagefolder":
        assert rows["file_name_"][3] == "file_name 3"
        assert rows["ref_file_name_"][3] == "ref_file_name 3"


def test_what_json_and_csv_cannot_hold_is_counted(odd: Catalog, tmp_path: Path) -> None:
    lost = len(VALUES) - 1
    for format in ("csv", "webdataset", "fiftyone"):
        done = export(odd, tmp_path / format, format)
        assert f"Text_Score: {lost} values became null (NaN or infinite)" in map(str, done.losses), format
        assert f"Text\\_Score: {lost}" in (tmp_path / format / "README.md").read_text().replace(
            "_Score", "\\_Score"
        )
    assert not export(odd, tmp_path / "parquet", "hf-parquet").losses


def test_csv_cells_are_not_run_and_come_back(odd: Catalog, tmp_path: Path) -> None:
    from foundation.csv_cells import safe_cell

    done = export(odd, tmp_path / "safe", "csv")
    export(odd, tmp_path / "raw", "csv", raw=True)
    csv.field_size_limit(1 << 20)
    for name, wanted in (("safe", [safe_cell(value) for value in VALUES]), ("raw", list(VALUES))):
        with (tmp_path / name / "rows.csv").open(newline="", encoding="utf-8") as file:
            assert [row["image"] for row in csv.DictReader(file)] == wanted
    with (tmp_path / "safe" / "rows.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [c for c in cells if c[:1] in set("=+@\t\r\n")]
    assert "-0.5" in cells
    assert [str(loss) for loss in done.losses][-1].startswith("rows.csv: 5 cells got an apostrophe")


@given(st.text(max_size=6))
def test_taking_one_apostrophe_away_brings_a_cell_back(text: str) -> None:
    from foundation.csv_cells import safe_cell

    cell = safe_cell(text)
    assert cell[:1] not in tuple("=@\t\r\n\uff1d")
    assert (cell[1:] if re.match(r"'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", cell) else cell) == text
    assert safe_cell(-0.5) == -0.5


@given(st.lists(st.text(max_size=8), unique=True, max_size=12))
def test_no_two_names_of_an_export_are_equal(columns: list[str]) -> None:
    own = {"image", "file_name"}
    names = export_names(["image", "IMAGE", *columns], own=own.__contains__)
    folded = [unicodedata.normalize("NFKC", name).casefold() for name in names.values()]
    assert len(set(folded)) == len(names)
    assert not own & set(folded)


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=80)), max_size=30))
def test_every_value_names_a_split_of_its_own(values: list[Any]) -> None:
    names = split_names(values)
    assert list(names) == list(dict.fromkeys(values))
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names.values()}) == len(names)
    for name in names.values():
        assert re.match(r"^\w+(\.\w+)*$", name)  # datasets.naming._split_re
        assert name.lower() != "all"
        assert len(f"{name}-00000-of-00000.parquet".encode()) <= 255
    assert split_names(list(reversed(values))) == names


@pytest.mark.parametrize("format", ["hf-imagefolder", "hf-parquet", "webdataset", "croissant"])
def test_splits_of_any_script_load(tmp_path: Path, format: str) -> None:
    values = ["кот", "犬", "日本 語", "हिन्दी", "1", "no", "all", "A b", "a-b", "🐈", None]
    catalog = catalog_of(tmp_path / "gallery", [{"subject": value} for value in values], ["subject"])
    export(catalog, tmp_path / "out", format, split_by="subject")
    found = loaded(tmp_path / "out", tmp_path / "cache")
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert list(record["splits"].values()) == values
    assert list(found) == list(record["splits"])
    assert list(found)[:2] == ["кот", "犬"]
    assert {"all_", "a_b", "a_b_2", "other", "none", "1", "no"} <= set(found)
    for split, value in record["splits"].items():
        row = found[split][0]
        assert (row["json"] if format == "webdataset" else row)["subject"] == value
    assert "| a\\_b\\_2 |".replace("\\", "") in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("format", ["hf-imagefolder", "hf-parquet"])
def test_many_files_and_equal_ids_are_read_back(tmp_path: Path, format: str) -> None:
    root = tmp_path / "gallery"
    catalog_of(root, [{"subject": f"s{index % 10}"} for index in range(30)], ["subject"])
    rows = (
        Catalog(root).query(as_arrow=True, top=12).to_pylist()
    )  # once more, in another part, as another sweep's
    publish_shard(
        root,
        "t-0",
        [{**row, "subject": "s1"} for row in rows],
        catalog_schema({"subject": "string"}, {}, None),
    )
    catalog = Catalog(root)
    done = export(catalog, tmp_path / "out", format, split_by="subject", images_per_file=3)
    assert done.checked is not None
    assert done.checked.rows == 42


def test_seeds_that_diffusiondb_cannot_hold_are_counted(tmp_path: Path) -> None:
    rows = [{"seed": seed, "scheduler": "euler"} for seed in (0, 2**32 - 1, 2**32, 2**40)]
    done = export(catalog_of(tmp_path / "gallery", rows, []), tmp_path / "out", "diffusiondb")
    told = "seed: 2 values became null (DiffusionDB holds 32 bits; part-NUMBER.json has them whole)"
    assert [str(loss) for loss in done.losses if loss.what in ("seed", "scheduler")] == [told]
    assert told in json.loads((tmp_path / "out" / "export.json").read_text())["changed"]
    assert f"- {told}" in (tmp_path / "out" / "README.md").read_text()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _drop_row(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize(
    ("format", "pattern", "damage"),
    [
        ("hf-parquet", "data/*", _cut), ("hf-imagefolder", "images/*/*", _change), ("hf-imagefolder", "metadata.parquet", _cut),
        ("webdataset", "*.tar", _cut), ("webdataset", "*.tar", _change), ("diffusiondb", "images/*/*.png", _change),
        ("diffusiondb", "metadata.parquet", _cut), ("csv", "rows.csv", _drop_row), ("plain", "*.png", _change),
        ("fiftyone", "samples.json", _drop_row), ("fiftyone", "data/*", _change), ("croissant", "croissant.json", _drop_row),
    ],
)  # fmt: skip
def test_what_does_not_read_back_is_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, pattern: str, damage: Callable[[Path], None]
) -> None:
    catalog = catalog_of(tmp_path / "gallery", [{}], [])
    put = Stage.put

    def put_and_damage(stage: Stage, name: str, data: bytes) -> None:
        put(stage, name, data)
        if name == "README.md":  # the last file before the check
            damage(next(stage.root.glob(pattern)))

    with monkeypatch.context() as patched:
        patched.setattr(Stage, "put", put_and_damage)
        with pytest.raises(CatalogError, match="does not read back") as told:
            export(catalog, tmp_path / "out", format)
    assert ".out.partial" in str(told.value)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / ".out.partial").is_dir()
    assert export(catalog, tmp_path / "out", format).checked is not None  # begins anew
    assert not (tmp_path / ".out.partial").exists()


def test_nothing_is_exported_into_an_output_folder(
    odd: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = catalog_of(tmp_path / "gallery", [{}], [])
    before = sorted(tmp_path.rglob("*"))
    (tmp_path / "link").symlink_to(tmp_path / "gallery")
    monkeypatch.chdir(tmp_path / "gallery")
    for out in (
        tmp_path / "gallery", tmp_path / "gallery" / "export", tmp_path / "gallery" / "catalog" / "x", Path(), Path("x"),
        tmp_path / "link" / "x", Path("../gallery/a/b"), tmp_path / "link",
    ):  # fmt: skip
        with pytest.raises(InputError, match="lies in the output folder"):
            export(odd, out, "csv")
        with pytest.raises(InputError, match="lies in the output folder"):
            export_catalog(select(catalog), out, ExportRequest("csv"), replace=True)
    for url in ("s3://bucket/x", "file:///tmp/x"):
        with pytest.raises(InputError, match="not to a URL"):
            export(odd, Path(url), "csv")
    (tmp_path / "link").unlink()
    assert sorted(tmp_path.rglob("*")) == before
    export(odd, Path("../gallery-export"), "csv")


def test_text_that_is_not_utf_8_is_refused_and_odd_titles_stay_yaml(odd: Catalog, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    with pytest.raises(InputError, match="not UTF-8"):
        export(odd, tmp_path / "out", "csv", title="a\udcff")
    title = 'a\x85"\u2028: |`b`\ufeff'
    export(odd, tmp_path / "out", "csv", title=title)
    front = (tmp_path / "out" / "README.md").read_text().split("---\n")[1]
    assert YAML(typ="safe").load(front)["pretty_name"] == title
