"""Opening a rescoring: which encoder, which scorers, which columns, and the facets' values from kept sweep files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import pyarrow as pa

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import EMBEDDING, catalog_schema, merge_schemas, names_with_role, score_columns
from nonesuch.flows.rescoring import FACETS, Rescoring, named_facets
from nonesuch.flows.run.output_folder import SWEEPS
from nonesuch.foundation.errors import InputError, NonesuchError
from nonesuch.scoring.encoders import open_encoder
from nonesuch.scoring.scorers import SCORERS, scorer_kind, scoring_columns
from nonesuch.scoring.scores import encoder_facts


def open_rescoring(
    out: Path,
    schema: pa.Schema,
    names: tuple[str, ...],
    *,
    encoder: str | None,
    aesthetic: str | None,
    safety_threshold: float | None,
    again: bool,
    online: bool,
) -> Rescoring:
    """Open encoder and scorers. Raises InputError, DependencyError and ScoringError as they do."""
    if not names:
        raise InputError("no scorer is named", where="scorers", hint=f"Known: {', '.join(SCORERS)}.")
    for name in names:
        scorer_kind(name)
    catalog = Catalog(out)
    known = {str(row["encoder"]) for row in _groups(catalog, "encoder")}
    opened = open_encoder(encoder or _own_encoder(known, out), online=online)
    facts = encoder_facts(opened)
    text = " ".join(facts[f"encoder{part}"] for part in ("", "_tag", "_preprocessing"))
    new_encoder = bool(known - {text})
    if new_encoder:
        names = tuple(dict.fromkeys([*names, *_present(schema)]))
    texts: dict[str, dict[str, dict[str, str]]] = {}
    templates: dict[str, str | None] = {}
    facets = tuple(names_with_role(schema, "facet"))
    if FACETS in names:
        for row in _groups(catalog, "sweep"):
            sweep = str(row["sweep"])
            texts[sweep], templates[sweep] = _sweep_facets(out, sweep, facets)
    declared = scoring_columns(names, named_facets(facets, texts))
    scores = {column.name: column.type for column in declared if column.type != "string"}
    kept = pa.schema(
        [f for f in schema if f.name != EMBEDDING and f.name not in scores], metadata=schema.metadata
    )
    target = merge_schemas(kept, catalog_schema({}, scores, opened.dim), where=str(out))
    return Rescoring(
        out, opened, text, new_encoder, names, target, again, aesthetic, safety_threshold, online, texts,
        templates, facets,
    )  # fmt: skip


def _groups(catalog: Catalog, column: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = catalog.query(
        f"{column} is not null", group=column, as_arrow=True
    ).to_pylist()
    return found


def _own_encoder(known: set[str], out: Path) -> str:
    if not known:
        return "embedded"
    if len(known) > 1:
        raise InputError(
            f"the catalog has embeddings of {len(known)} encoders: {'; '.join(sorted(known))}",
            where=str(out),
            hint="Name the one that all images shall have: --encoder.",
        )
    name, tag = next(iter(known)).split(" ")[:2]
    return name if name == "embedded" or ":" in name else f"{name}/{tag}"


def _present(schema: pa.Schema) -> list[str]:
    """The scorers whose columns the catalog has: another encoder makes their scores void."""
    have = set(score_columns(schema))
    found = []
    for name in SCORERS:
        columns = {column.name for column in scorer_kind(name).columns(()) if column.type != "string"}
        if (columns and columns <= have) or (name == FACETS and any(c.startswith("prob_") for c in have)):
            found.append(name)
    return found


def _sweep_facets(
    out: Path, sweep: str, facets: Sequence[str]
) -> tuple[dict[str, dict[str, str]], str | None]:
    """The facets in a sweep's prompt with the texts of their values, and the prompt, from its kept sweep file."""
    from nonesuch.generators.sweepfile.sweep import load_sweep

    path = out / SWEEPS / f"{sweep}.yaml"
    if not path.is_file():
        return {}, None
    try:
        read = load_sweep(path)
        fields = {name for _, name, _, _ in Formatter().parse(read.prompt) if name}
    except (NonesuchError, ValueError):
        return {}, None
    named = [facet for facet in read.values if facet in fields and facet in facets]
    return {facet: {value.name: value.text for value in read.values[facet]} for facet in named}, read.prompt
