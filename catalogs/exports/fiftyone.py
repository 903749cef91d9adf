"""fiftyone: samples.json beside data/, which fiftyone.types.FiftyOneDataset loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from catalogs.exports.columns import json_line, json_row
from catalogs.exports.job import ExportJob, Layout
from catalogs.exports.stage import Stage
from catalogs.schema import EMBEDDING, names_with_role

_MIME = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
_TAKEN = {"id", "filepath", "tags", "metadata"}  # fields of every FiftyOne sample


class FiftyOne:
    """data/*.png and samples.json: facets as classifications, scores and recipe as plain fields.

    samples.json is the JSON form of samples that FiftyOne reads without its own database documents; their
    fields are taken from the values. A facet's confidence is the `prob_` score of the same facet.
    """

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        facets = names_with_role(chosen.table.schema, "facet")
        fields = _field_names(chosen.table.column_names)
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
                file.write(json_line(_sample(picture.row, picture.name, fields, facets, vector)))
                job.count()
            file.write(b"\n]}\n")
        info = {"name": job.title, "media_type": "image", "info": {"nonesuch": dict(job.request.asked)}}
        stage.put("metadata.json", json.dumps(info, ensure_ascii=False, default=str).encode())
        return Layout(
            files=[
                ("data/", "the image files, bit for bit"),
                ("samples.json", "one sample an image"),
                ("metadata.json", "name and origin of the data set"),
            ],
            loading="import fiftyone\n\ndataset = fiftyone.Dataset.from_dir(\n"
            '    dataset_dir="PATH", dataset_type=fiftyone.types.FiftyOneDataset\n)',
        )


def _sample(
    row: Mapping[str, Any],
    name: str,
    fields: Mapping[str, str],
    facets: Sequence[str],
    vector: Sequence[float] | None,
) -> dict[str, Any]:
    plain = json_row(row)
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
        sample[EMBEDDING] = vector
    return sample


def _field_names(columns: Sequence[str]) -> dict[str, str]:
    """A field for each column: FiftyOne's are Python identifiers, and some of them are taken."""
    found: dict[str, str] = {}
    for column in columns:
        name = "".join(letter if letter.isalnum() else "_" for letter in column)
        while name in _TAKEN or name in found.values():
            name += "_"
        found[column] = name
    return found
