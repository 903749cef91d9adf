"""The data card of an export, README.md: front matter for the Hugging Face Hub, then the answers readers look for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from nonesuch.catalogs.exports.card_facts import (
    RowCounts,
    count_rows,
    facet_counts,
    model_facts,
    score_facts,
    score_figures,
)
from nonesuch.catalogs.exports.column_words import PLACE, described, features_yaml, yaml_text
from nonesuch.catalogs.exports.export_job import ExportJob, Layout, Loss
from nonesuch.foundation.naming import file_name

EMBEDDED_LICENSE = "Apache-2.0 (trained from scratch; see its model card)"
SHOWN_VALUES = 25  # of a facet
_MARKS = re.compile(
    r"[\\`*{}\[\]|#!~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
)  # an underscore in a word is plain
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# identifiers that the Hub knows; another licence is named as `other`
_HUB_LICENSES = {
    "apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0", "cc-by-3.0", "odc-by", "pddl", "unlicense", "openrail", "openrail++", "creativeml-openrail-m",
    "cdla-permissive-2.0", "gpl-3.0", "bsd-3-clause", "wtfpl",
}  # fmt: skip


def data_card(job: ExportJob, layout: Layout, losses: Sequence[Loss] = ()) -> str:
    """README.md of an export. Text from the catalog is escaped: prompts may be untrusted."""
    counts = count_rows(job.selection.table)
    sections = [
        "\n".join(_front_matter(job, layout, counts)),
        f"# {_plain(job.title)}",
        _summary(job, counts),
        _what_was_drawn(job),
        _models(job),
        _files(layout),
        _splits(job),
        _columns(layout, job),
        _changes(losses),
        _scores(job),
        _provenance(counts),
        _limits(counts),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(job: ExportJob, layout: Layout, counts: RowCounts) -> list[str]:
    lines = ["---"]
    license = job.request.license
    if license and license.lower() in _HUB_LICENSES:
        lines.append(f"license: {license.lower()}")
    elif license:
        lines += ["license: other", f"license_name: {yaml_text(license)}"]
    lines += [
        f"pretty_name: {yaml_text(job.title)}",
        f"size_categories:\n- {next((name for limit, name in _SIZES if counts.images < limit), 'n>1M')}",
        "task_categories:\n- text-to-image",
        "tags:\n- synthetic\n- ai-generated\n- image\n- c2pa\n- content-credentials\n- nonesuch",
    ]
    if layout.features is not None:
        lines += ["dataset_info:", "  features:", *features_yaml(layout.features, "  ")]
        lines.append("  splits:")
        for split, numbers in job.selection.splits.items():
            size = job.selection.size(numbers)
            lines += [
                f"  - name: {yaml_text(split)}",
                f"    num_bytes: {size}",
                f"    num_examples: {len(numbers)}",
            ]
    if layout.data_files:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split, patterns in layout.data_files.items():
            lines += [
                f"  - split: {yaml_text(split)}",
                "    path:",
                *(f"    - {yaml_text(pattern)}" for pattern in patterns),
            ]
    return [*lines, "---"]


def _summary(job: ExportJob, counts: RowCounts) -> str:
    when = ""
    if counts.first is not None and counts.last is not None:
        first, last = counts.first.date(), counts.last.date()
        when = f" between {first} and {last}" if first != last else f" on {first}"
    text = (
        f"{counts.images:,} images{when and f', drawn{when}'}, exported by nonesuch {version('nonesuch')} on "
        f"{datetime.now(UTC).date()}. Every image is listed with the whole recipe it was drawn by, its scores, "
        "its perceptual hashes and the SHA-256 of its file."
    )
    if counts.flagged:
        text += f" {counts.flagged:,} of them are flagged (see `status` and `reason`)."
    asked = {name: value for name, value in job.request.asked.items() if value not in (None, (), [])}
    if asked:
        chosen = "; ".join(f"{name} {_code(value)}" for name, value in asked.items())
        text += f"\n\nChosen from the catalog by: {chosen}."
    if job.selection.left_out:
        text += (
            f"\n\n{len(job.selection.left_out):,} images were left out because their files are missing or were "
            "changed since they were catalogued; `export.json` lists them."
        )
    license = job.request.license
    told = f"The images are under {_plain(license)}." if license else "No licence is stated for the images."
    return f"{text}\n\n{told} Models and scorers have licences of their own, which may bind what they made."


def _what_was_drawn(job: ExportJob) -> str:
    lines = ["## What was drawn", ""]
    table = job.selection.table
    lines += _table(
        ("sweep", "images", "an example prompt"),
        [
            (name, f"{count:,}", example)
            for name, count, example in facet_counts(table, "sweep", example="prompt")[:SHOWN_VALUES]
        ],
    )
    for facet in [field.name for field in table.schema if _role(field) == "facet"]:
        counted = facet_counts(table, facet)
        shown = ", ".join(f"{_plain(value)} ({count:,})" for value, count, _ in counted[:SHOWN_VALUES])
        more = f", and {len(counted) - SHOWN_VALUES:,} more" if len(counted) > SHOWN_VALUES else ""
        lines += ["", f"**{_plain(facet)}**, {len(counted):,} values: {shown}{more}"]
    return "\n".join(lines)


def _models(job: ExportJob) -> str:
    rows = []
    licenses = {file_name(name): license for name, license in job.request.model_licenses.items()}
    for model in model_facts(job.selection.table):
        license = licenses.get(model.name)
        if license is None:
            license = (
                EMBEDDED_LICENSE if model.name == "embedded" else "not recorded: see the model's own card"
            )
        pinned = model.revision or (f"weights {model.digest[:12]}…" if model.digest else "")
        rows.append((model.name, pinned, model.backend, f"{model.images:,}", license))
    lines = ["## Models", "", *_table(("model", "revision", "drawn by", "images", "licence"), rows)]
    return "\n".join(lines)


def _files(layout: Layout) -> str:
    listed = [(_code(path), what) for path, what in layout.files]
    listed += [("`export.json`", "what was asked for and what was left out"), ("`README.md`", "this card")]
    rows = ["| file | what it holds |", "|---|---|", *(f"| {path} | {what} |" for path, what in listed)]
    return "\n".join(
        [
            "## Files",
            "",
            *rows,
            "",
            f"```{layout.language}",
            layout.loading,
            "```",
            "",
            "`PATH` is this folder.",
        ]
    )


def _columns(layout: Layout, job: ExportJob) -> str:
    names = layout.columns
    rows = []
    for column, kind, meaning in described(job.selection.table.schema):
        if column == PLACE if names is None else column not in names:
            continue
        name = column if names is None else names[column]
        text = _plain(meaning) + ("" if name == column else f" (in the catalog: {_code(column)})")
        rows.append((_code(name), kind, text))
    body = "\n".join(f"| {name} | {kind} | {meaning} |" for name, kind, meaning in rows)
    return (
        "## Columns\n\n<details><summary>Every column that comes from the catalog</summary>\n\n"
        f"| column | type | meaning |\n|---|---|---|\n{body}\n\n</details>"
    )


def _splits(job: ExportJob) -> str:
    values = job.selection.split_values
    if not values:
        return ""
    rows = [(name, values[name], f"{len(numbers):,}") for name, numbers in job.selection.splits.items()]
    heads = ("split", str(job.request.split_by), "images")
    return "\n".join(["## Splits", "", *_table(heads, rows)])


def _changes(losses: Sequence[Loss]) -> str:
    if not losses:
        return ""
    return "\n".join(["## What differs from the catalog", "", *(f"- {_plain(loss)}" for loss in losses)])


def _scores(job: ExportJob) -> str:
    figures = score_figures(job.selection.table)
    if not figures:
        return ""
    rows = [
        (name, f"{f.count:,}", *(_number(v) for v in (f.mean, f.sd, f.low, f.p5, f.median, f.p95, f.high)))
        for name, f in figures.items()
    ]
    heads = ("score", "images", "mean", "sd", "min", "5 %", "median", "95 %", "max")
    lines = ["## Scores", "", *_table(heads, rows)]
    facts = score_facts(job.selection.table)
    if facts:
        lines += ["", "How they were made:", ""]
        lines += [f"- {_plain(name)}: {', '.join(map(_plain, values))}" for name, values in facts.items()]
    lines += ["", "Scores of different encoders and aesthetic heads can't be compared with one another."]
    return "\n".join(lines)


def _provenance(counts: RowCounts) -> str:
    lines = [
        "## Provenance",
        "",
        f"{counts.credentials:,} of {counts.images:,} images carry a signed content credential (C2PA), "
        f"{counts.watermarks:,} an invisible watermark with their 64-bit id. The files in this export are the "
        "catalogued ones, bit for bit; encoding them anew removes the credential.",
        "",
        "To check one:",
        "",
        "- `sha256sum FILE` gives its `sha256`;",
        "- `nonesuch verify FILE` reads credential, watermark and metadata and says how certain that is;",
        "- any other C2PA reader, for example `c2patool FILE`, shows the same manifest. Its signer is only as "
        "trustworthy as the certificate: a local authority's proves that nobody changed the file, not who drew it.",
        "",
        "A credential may state whether the image may be used for training or mining (`c2pa.training-mining`, "
        "`cawg.training-mining`); read it before using the images so.",
    ]
    return "\n".join(lines)


def _limits(counts: RowCounts) -> str:
    lines = [
        "## Limits",
        "",
        "- The images are synthetic. They show what the models learned, with the biases of their training data, "
        "and are no evidence of anything in the world.",
        "- Styles named after people are imitations; nobody named in a prompt took part or agreed.",
    ]
    if counts.has_safety:
        lines.append(
            "- `safety` is a zero-shot guess by the encoder. It misses what its prompts do not name, and errs on art."
        )
    return "\n".join(lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [f"| {' | '.join(map(_plain, heads))} |", "|" + "---|" * len(heads)]
    return lines + [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]


def _plain(value: Any) -> str:
    """Text made harmless inside Markdown and its tables, on one line, shortened when very long."""
    text = " ".join(str("" if value is None else value).split())
    if len(text) > 300:
        text = text[:299] + "…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\g<0>", text)


def _code(value: Any) -> str:
    listed = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = " ".join(listed.split()).replace("`", "'").replace("|", "\\|")
    return f"`{text or ' '}`"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _role(field: Any) -> str:
    metadata: Mapping[bytes, bytes] = field.metadata or {}
    return metadata.get(b"role", b"").decode()
