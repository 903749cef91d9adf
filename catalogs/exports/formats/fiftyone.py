"""fiftyone: samples.json beside data/, which fiftyone.types.FiftyOneDataset loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nonesuch.catalogs.exports.column_words import PLACE, json_line, json_row, lost_numbers
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout
from nonesuch.catalogs.exports.name_spaces import export_names
from nonesuch.catalogs.exports.read_back import (
    checked,
    expect,
    expect_bytes,
    expect_rows,
    expect_values,
    sampled,
)
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.catalogs.schema import EMBEDDING, names_with_role

_MIME = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
# fields of every FiftyOne sample, and names that its samples have for something else (FiftyOne 1.22, MongoEngine 0.29)
_OWN = frozenset(
    [
        "id",
        "filepath",
        "tags",
        "metadata",
        "created_at",
        "last_modified_at",
        "media_type",
        "media_reference",
        "frames",
        "groups",
        "group",
        "pk",
        "dataset",
        "dataset_id",
        "in_db",
        "in_dataset",
        "filename",
        "field_names",
        "strict",
        "meta",
        "objects",
        "add_field",
        "add_implied_field",
        "add_labels",
        "cascade_save",
        "clean",
        "clear_field",
        "collection_name",
        "compare_indexes",
        "compute_metadata",
        "copy",
        "copy_with_new_id",
        "create_index",
        "default_fields",
        "default_fields_ordered",
        "delete",
        "drop_collection",
        "ensure_indexes",
        "excluded_field_names",
        "fancy_repr",
        "field_to_mongo",
        "field_to_python",
        "filtered_field_names",
        "from_dict",
        "from_doc",
        "from_frame",
        "from_json",
        "get_field",
        "get_field_schema",
        "get_media_key",
        "get_text_score",
        "has_field",
        "iter_fields",
        "list_indexes",
        "merge",
        "merge_field_schema",
        "modify",
        "my_metaclass",
        "register_delete_rule",
        "reload",
        "save",
        "select_related",
        "selected_field_names",
        "set_field",
        "switch_collection",
        "switch_db",
        "to_dbref",
        "to_dict",
        "to_json",
        "to_mongo",
        "to_mongo_dict",
        "update",
        "update_fields",
        "validate",
    ]
)


class FiftyOne:
    """data/*.png and samples.json: facets as classifications, scores and recipe as plain fields.

    samples.json is the JSON form of samples that FiftyOne reads without its own database documents; their
    fields are taken from the values. A facet's confidence is the `prob_` score of the same facet.
    """

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        facets = names_with_role(chosen.table.schema, "facet")
        fields = _field_names(chosen.table.column_names)
        plain = {column: column for column in fields if column != EMBEDDING}
        with (
            stage.writing("samples.json", flush=True) as temporary,
            temporary.open("wb") as file,
        ):
            file.write(b'{"samples": [\n')
            embeddings = chosen.table[EMBEDDING] if EMBEDDING in chosen.table.column_names else None
            for number, picture in enumerate(chosen.pictures()):
                stage.put(f"data/{picture.name}", picture.data)
                vector = None if embeddings is None else embeddings[number].as_py()
                file.write(b"" if number == 0 else b",\n")
                file.write(
                    json_line(_sample(json_row(picture.row, plain), picture.name, fields, facets, vector))
                )
                job.count()
            file.write(b"\n]}\n")
        info = {"name": job.title, "media_type": "image", "info": {"nonesuch": dict(job.request.asked)}}
        stage.put("metadata.json", json.dumps(info, ensure_ascii=False, default=str).encode())
        return Layout(
            files=[
                ("data/", "the image files, bit for bit"),
                ("samples.json", "one sample per image"),
                ("metadata.json", "name and origin of the data set"),
            ],
            loading="import fiftyone\n\ndataset = fiftyone.Dataset.from_dir(\n"
            '    dataset_dir="PATH", dataset_type=fiftyone.types.FiftyOneDataset\n)',
            columns=fields,
            losses=lost_numbers(chosen.table),
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By Python's JSON reader and FiftyOne's rules for names; its own importer needs its database."""
        chosen = job.selection
        facets = names_with_role(chosen.table.schema, "facet")
        fields = _field_names(chosen.table.column_names)
        samples = json.loads((stage.root / "samples.json").read_bytes())["samples"]
        expect_rows(len(samples), chosen.table.num_rows, "samples.json")
        allowed = {"filepath", "tags", "metadata", "_media_type", *fields.values()}
        for sample in samples:
            odd = [name for name in sample if name not in allowed]
            expect(not odd, f"samples.json has a field {odd[:1]}, which was not written")
        for name in fields.values():
            sound = name.isidentifier() and name[0] != "_" and name.lower() not in _OWN
            expect(sound, f"FiftyOne takes no field {name!r}")
        numbers = sampled(range(chosen.table.num_rows))
        for number, picture in zip(numbers, chosen.pictures(numbers), strict=True):
            sample = samples[number]
            found = {
                c: v["label"] if c in facets and (v := sample.get(f)) else sample.get(f)
                for c, f in fields.items()
            }
            row = json_row(picture.row, {column: column for column in fields if column != EMBEDDING})
            wanted = {c: str(v) if c in facets and v is not None else v for c, v in row.items()}
            expect_values(found, wanted, "samples.json")
            expect_bytes(stage.root / sample["filepath"], picture, "samples.json")
        return checked(["Python's json"], job, len(fields), len(numbers))


def _sample(
    plain: Mapping[str, Any],
    name: str,
    fields: Mapping[str, str],
    facets: Sequence[str],
    vector: Sequence[float] | None,
) -> dict[str, Any]:
    sample: dict[str, Any] = {
        "filepath": f"data/{name}",
        "tags": [tag for tag in (plain["sweep"], plain["status"]) if tag],
        "metadata": {
            "_cls": "ImageMetadata",
            "size_bytes": plain["bytes"],
            "mime_type": _MIME.get(name.rsplit(".", 1)[-1], "application/octet-stream"),
            "width": plain["width"],
            "height": plain["height"],
            "num_channels": 3,
        },
        "_media_type": "image",
    }
    for column, value in plain.items():
        if value is None:
            continue
        field = fields[column]
        if column in facets:
            confidence = plain.get(f"prob_{column}")
            label = {"_cls": "Classification", "label": str(value)}
            sample[field] = label if confidence is None else {**label, "confidence": confidence}
        else:
            sample[field] = value
    if vector is not None:
        sample[fields[EMBEDDING]] = vector
    return sample


def _field_names(columns: Sequence[str]) -> dict[str, str]:
    """A field for each column: FiftyOne's are identifiers without `_` in front, and some of them are taken."""
    listed = [column for column in columns if column != PLACE]
    return export_names(listed, own=_OWN.__contains__, plain=_plain)


def _plain(column: str) -> str:
    name = "".join(letter if letter.isalnum() else "_" for letter in column).lstrip("_")
    return name if name.isidentifier() else f"column_{name}".rstrip("_")
