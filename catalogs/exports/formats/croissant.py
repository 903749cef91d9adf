"""croissant: Parquet files with the images inside and croissant.json, Croissant 1.1 metadata in JSON-LD."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from nonesuch.catalogs.exports.column_words import IMAGE, described
from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout, Loss
from nonesuch.catalogs.exports.formats.parquet import EmbeddedParquet, embedded_schema
from nonesuch.catalogs.exports.read_back import expect, expect_names, expect_rows, installed
from nonesuch.catalogs.exports.stage import Stage
from nonesuch.foundation.errors import CatalogError
from nonesuch.foundation.files import file_digest

FILE = "croissant.json"
SPECIFICATION = "http://mlcommons.org/croissant/1.1"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_PARQUET = "application/x-parquet"
_FEW = 64 << 20  # bytes of Parquet of which a check reads every record; mlcroissant holds them all in memory


class Croissant:
    """The files of hf-parquet, described record by record: `mlcroissant` and `datasets` both load them."""

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        layout = EmbeddedParquet().write(job, stage)
        text = json.dumps(_metadata(job, stage), ensure_ascii=False, indent=2)
        stage.put(FILE, text.encode() + b"\n")
        loading = (
            'import mlcroissant\n\ndataset = mlcroissant.Dataset("PATH/croissant.json")\n'
            'for record in dataset.records("images"):\n    print(record["images/prompt"], record["images/image"])'
        )
        return replace(
            layout,
            files=[*layout.files, (FILE, "Croissant 1.1 metadata: files, digests, fields")],
            loading=loading,
            losses=[
                Loss(
                    field.name,
                    job.selection.table.num_rows,
                    "values left out of croissant.json (Parquet has them)",
                )
                for field in embedded_schema(job.selection)
                if not _is_described(field)
            ],
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """The files as hf-parquet checks them; croissant.json by `mlcroissant`, with its records where they are few."""
        files = EmbeddedParquet().check(job, stage, layout)
        path = stage.root / FILE
        told = json.loads(path.read_bytes())
        columns = [field["source"]["extract"]["column"] for field in told["recordSet"][0]["field"]]
        expect_names(
            columns, [field.name for field in embedded_schema(job.selection) if _is_described(field)], FILE
        )
        library = installed("mlcroissant")
        if library is not None:
            _check_records(job, path, _size(stage) <= _FEW, library)
        return replace(files, readers=[*files.readers, library or "Python's json"])


def _check_records(job: ExportJob, path: Path, whole: bool, library: str) -> None:
    import mlcroissant

    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)  # it recommends properties that only the user can fill
    try:
        dataset = mlcroissant.Dataset(str(path))
        errors = list(dataset.metadata.ctx.issues.errors)
        expect(not errors, f"{library} says of {FILE}: {errors[0] if errors else ''}")
        if whole:
            ids = [record["images/recipe_id"].decode() for record in dataset.records("images")]
            expect_rows(len(ids), job.selection.table.num_rows, f"{FILE}, by {library},")
            expect(
                set(ids) == set(job.selection.table["recipe_id"].to_pylist()),
                f"{FILE} leads to other records",
            )
    except CatalogError:
        raise
    except Exception as error:  # every kind of mistake raises its own
        raise CatalogError(f"{library} can't load {FILE}: {str(error)[:300]}") from error
    finally:
        log.setLevel(level)


def _size(stage: Stage) -> int:
    return sum(path.stat().st_size for path in stage.files())


def _is_described(field: pa.Field) -> bool:
    return bool(field.type == IMAGE or not pa.types.is_nested(field.type))


def _metadata(job: ExportJob, stage: Stage) -> dict[str, Any]:
    parts = [path for path in stage.files() if path.suffix == ".parquet"]
    distribution: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": f"data/{path.name}",
            "name": path.name,
            "contentUrl": f"data/{path.name}",
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": _PARQUET,
            "sha256": file_digest(path),
        }
        for path in parts
    ]
    distribution.append(
        {
            "@type": "cr:FileSet",
            "@id": "parquet-files",
            "name": "parquet-files",
            "description": "All Parquet files, with the bytes of the images inside.",
            "encodingFormat": _PARQUET,
            "includes": "data/*.parquet",
        }
    )
    schema = embedded_schema(job.selection)
    meanings = {name: meaning for name, _, meaning in described(schema)}
    shown = [field for field in schema if _is_described(field)]
    ids = _identifiers([field.name for field in shown])
    fields = [_field(field, ids[field.name], meanings[field.name]) for field in shown]
    newest = max((value for value in job.selection.table["drawn_at"].to_pylist() if value), default=None)
    today = datetime.now(UTC).date()
    name = re.sub(r"[^\w.-]+", "-", job.title).strip("-") or "images"
    told: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": f"{job.selection.table.num_rows} generated images with their recipes, scores and content "
        "credentials, exported from a nonesuch catalog. README.md is the data card.",
        "conformsTo": SPECIFICATION,
        "isLiveDataset": False,
        "version": "1.0.0",
        "datePublished": today.isoformat(),
        "citeAs": f"@misc{{{name}, title={{{name}}}, year={{{today.year}}}, note={{Exported from a nonesuch catalog}}}}",
        "keywords": ["generated images", "text-to-image", "content credentials", "C2PA"],
        "distribution": distribution,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "One record per image.",
                "key": {"@id": "images/recipe_id"},
                "field": fields,
            }
        ],
    }
    if job.request.license:
        told["license"] = job.request.license
    if newest is not None:
        told["dateCreated"] = newest.date().isoformat()
    return told


def _identifiers(names: Sequence[str]) -> dict[str, str]:
    """An `@id` for each column: the format allows no spaces in them."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]", "_", name)
        while f"images/{plain}" in found.values():
            plain += "_"
        found[name] = f"images/{plain}"
    return found


def _field(field: pa.Field, identifier: str, meaning: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "parquet-files"}, "extract": {"column": field.name}}
    if field.type == IMAGE:
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": field.name,
        "description": meaning or "The image file as it was catalogued.",
        "dataType": _data_type(field.type),
        "source": source,
    }


def _data_type(kind: pa.DataType) -> str:
    if kind == IMAGE:
        return "sc:ImageObject"
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
