"""diffusiondb: the layout and columns of DiffusionDB (Wang et al. 2022, arXiv:2210.14896), 1,000 images per part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nonesuch.catalogs.exports.export_job import Checked, ExportJob, Layout, Loss
from nonesuch.catalogs.exports.read_back import (
    Tables,
    checked,
    expect,
    expect_bytes,
    expect_names,
    expect_rows,
    expect_values,
    sampled,
)
from nonesuch.catalogs.exports.stage import Stage

PART = 1000  # images in a part
SCHEMA = pa.schema(
    [
        ("image_name", pa.string()),
        ("prompt", pa.string()),
        ("part_id", pa.uint16()),
        ("seed", pa.uint32()),
        ("step", pa.uint16()),
        ("cfg", pa.float32()),
        ("sampler", pa.uint8()),
        ("width", pa.uint16()),
        ("height", pa.uint16()),
        ("user_name", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("image_nsfw", pa.float32()),
        ("prompt_nsfw", pa.float32()),
    ]
)
_NAMES = ("ddim", "plms", "k_euler", "k_euler_ancestral", "k_heun", "k_dpm_2", "k_dpm_2_ancestral", "k_lms")
_OTHERS = 9  # the code for every other sampler
# scheduler as nonesuch and other programs call it → DiffusionDB's code
_SAMPLERS = {name: code for code, name in enumerate(_NAMES, start=1)} | {
    "pndm": 2,
    "euler": 3,
    "euler_karras": 3,
    "euler_a": 4,
    "euler_ancestral": 4,
    "heun": 5,
    "kdpm2": 6,
    "dpm2": 6,
    "kdpm2_a": 7,
    "dpm2_a": 7,
    "lms": 8,
}


# catalog's column → DiffusionDB's
_COLUMNS = {
    "prompt": "prompt",
    "seed": "seed",
    "steps": "step",
    "guidance_scale": "cfg",
    "scheduler": "sampler",
    "width": "width",
    "height": "height",
    "sweep": "user_name",
    "drawn_at": "timestamp",
    "safety": "image_nsfw",
}
_BITS = {"seed": 32, "steps": 16, "width": 16, "height": 16}  # of its whole numbers


class DiffusionDB:
    """metadata.parquet with DiffusionDB's 13 columns, images/part-000001/*.png, part-000001.json.

    `user_name` is the SHA-256 of the sweep's name, `image_nsfw` 1 - safety. Numbers that its types can't
    hold (seeds of more than 32 bits) are null there, and counted; part-NUMBER.json has such seeds.
    """

    def write(self, job: ExportJob, stage: Stage) -> Layout:
        chosen = job.selection
        total = chosen.table.num_rows
        with (
            stage.writing("metadata.parquet", flush=True) as temporary,
            pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
        ):
            for start in range(0, total, PART):
                part = start // PART + 1
                rows, prompts = [], {}
                for picture in chosen.pictures(range(start, min(start + PART, total))):
                    stage.put(f"images/part-{part:06d}/{picture.name}", picture.data)
                    row = _row(picture.row, picture.name, part)
                    rows.append(row)
                    prompts[picture.name] = {
                        "p": row["prompt"],
                        "se": picture.row["seed"],
                        "c": row["cfg"],
                        "st": row["step"],
                        "sa": _NAMES[row["sampler"] - 1] if row["sampler"] < _OTHERS else "others",
                    }
                    job.count()
                text = json.dumps(prompts, ensure_ascii=False, allow_nan=False).encode()
                stage.put(f"images/part-{part:06d}/part-{part:06d}.json", text)
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
        return Layout(
            files=[
                ("images/part-NUMBER/", "1,000 image files and a JSON of their prompts (p, se, c, st, sa)"),
                ("metadata.parquet", "DiffusionDB's 13 columns"),
            ],
            loading='import pandas\n\nframe = pandas.read_parquet("PATH/metadata.parquet")',
            columns={
                column: name for column, name in _COLUMNS.items() if column in chosen.table.column_names
            },
            losses=_losses(chosen.table),
        )

    def check(self, job: ExportJob, stage: Stage, layout: Layout) -> Checked:
        """By DuckDB and Python's JSON reader; some images where `image_name` leads."""
        chosen = job.selection
        tables = Tables()
        path = [stage.root / "metadata.parquet"]
        expect_rows(tables.count(path), chosen.table.num_rows, path[0].name)
        expect_names(tables.names(path), SCHEMA.names, path[0].name)
        numbers = sampled(range(chosen.table.num_rows))
        rows = tables.rows(path, "image_name", [chosen.names[number] for number in numbers])
        for number, picture in zip(numbers, chosen.pictures(numbers), strict=True):
            part = number // PART + 1
            wanted = pa.Table.from_pylist([_row(picture.row, picture.name, part)], SCHEMA).to_pylist()[0]
            expect_values(rows.get(picture.name, {}), wanted, path[0].name)
            folder = stage.root / f"images/part-{part:06d}"
            expect_bytes(folder / picture.name, picture, path[0].name)
            prompts = json.loads((folder / f"part-{part:06d}.json").read_bytes())
            size = min(PART, chosen.table.num_rows - (part - 1) * PART)
            expect_rows(len(prompts), size, f"part-{part:06d}.json")
            expect(
                prompts[picture.name]["se"] == picture.row["seed"], f"part-{part:06d}.json has another seed"
            )
        return checked([tables.name, "Python's json"], job, len(SCHEMA.names), len(numbers))


def _losses(table: pa.Table) -> list[Loss]:
    losses = []
    for column, bits in _BITS.items():
        lost = sum(value is not None and _within(value, bits) is None for value in table[column].to_pylist())
        if lost:
            whole = "; part-NUMBER.json has them whole" if column == "seed" else ""
            losses.append(Loss(column, lost, f"values became null (DiffusionDB holds {bits} bits{whole})"))
    unknown = sum(
        name is not None and sampler_code(name) == _OTHERS for name in table["scheduler"].to_pylist()
    )
    if unknown:
        losses.append(
            Loss("scheduler", unknown, f"values became {_OTHERS}, others (DiffusionDB has no code for them)")
        )
    if late := max(0, table.num_rows - PART * ((1 << 16) - 1)):
        losses.append(Loss("part_id", late, "values became null (DiffusionDB holds 16 bits)"))
    return losses


def _row(row: Mapping[str, Any], name: str, part: int) -> dict[str, Any]:
    safety = row.get("safety")
    return {
        "image_name": name,
        "prompt": row["prompt"],
        "part_id": part if part < 1 << 16 else None,
        "seed": _within(row["seed"], 32),
        "step": _within(row["steps"], 16),
        "cfg": row["guidance_scale"],
        "sampler": sampler_code(row["scheduler"]),
        "width": _within(row["width"], 16),
        "height": _within(row["height"], 16),
        "user_name": hashlib.sha256(str(row["sweep"]).encode()).hexdigest(),
        "timestamp": row["drawn_at"],
        "image_nsfw": None if safety is None else 1 - safety,
        "prompt_nsfw": None,
    }


def sampler_code(scheduler: str | None) -> int:
    """DiffusionDB's code of a scheduler, whatever program named it; 9 for those it has none for."""
    word = (scheduler or "").lower().replace(" ", "_").replace("-", "_")
    return _SAMPLERS.get(word, _OTHERS)


def _within(value: int | None, bits: int) -> int | None:
    return value if value is not None and 0 <= value < 1 << bits else None
