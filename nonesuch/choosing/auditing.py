"""An audit of a catalog: how often an encoder sees each attribute in each value of a facet."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nonesuch.choosing.like import catalog_encoder
from nonesuch.foundation.errors import InputError
from nonesuch.scoring.measures.attributes import AttributeShare, parse_attributes, probabilities, shares

if TYPE_CHECKING:
    from nonesuch.catalogs.search.expressions import Where

CAVEATS: Final = (
    "An attribute is the nearest of the given words to the encoder, not what an image shows. The encoder learned it "
    "from captions of the web and carries their stereotypes; it makes more errors on some groups of people than on others.",
    "It can't know anyone's gender, origin, age or belief, and the images show no real person: take a share as a hint where "
    "to look, then look at the images.",
    "The intervals show how far chance moves a share for this number of images. They don't cover the encoder's own errors, "
    "and images of one prompt that differ only in their seed are counted as independent.",
    "Words that were not given are not counted; an image without any of them is still counted as one of them, or as (unsure).",
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One attribute within one value of the facet."""

    by: str  # the facet's value; "(all)" for the whole
    attributes: str  # the set, as "woman / man"
    found: AttributeShare

    def flat(self) -> dict[str, Any]:
        """As one row of a table."""
        return {"value": self.by, "attributes": self.attributes, **asdict(self.found)}


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit."""

    catalog: str
    by: str
    encoder: str
    images: int
    sure: float
    rows: tuple[AuditRow, ...]

    def told(self) -> dict[str, Any]:
        """As JSON, with what an audit can't show."""
        rows = [row.flat() for row in self.rows]
        for row in rows:
            row["probability"] = None if row["probability"] != row["probability"] else row["probability"]
        return {
            "catalog": self.catalog, "by": self.by, "encoder": self.encoder, "images": self.images,
            "sure": self.sure, "rows": rows, "cannot_tell": list(CAVEATS),
        }  # fmt: skip


def audit_catalog(folder: Path, by: str, attributes: str, *, where: Where = None, sure: float = 0.6) -> Audit:
    """Count attributes over the stored embeddings of the images that meet `where`, for each value of the facet `by`.

    `sure`: the softmax probability from which an attribute counts. Raises InputError for an unknown facet, malformed
    attributes, and a catalog without embeddings or with embeddings of several encoders.
    """
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition

    sets = parse_attributes(attributes)
    catalog = Catalog(folder)
    if by not in catalog.facets:
        known = ", ".join(catalog.facets) or "none"
        raise InputError(f"the catalog has no facet {by!r}", where="--by", hint=f"Facets: {known}.")
    encoder = catalog_encoder(catalog)
    condition = each_condition(where, "embedding is not null")
    table = catalog.query(condition, columns=[by, "embedding"], as_arrow=True)
    if not table.num_rows:
        raise InputError("no image with an embedding meets the condition", where=str(folder))
    values = np.array(["" if value is None else str(value) for value in table[by].to_pylist()], dtype=object)
    embeddings = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    rows: list[AuditRow] = []
    for names in sets:
        found = probabilities(encoder, embeddings, names)
        title = " / ".join(names)
        for value in ["(all)", *sorted(set(values))]:
            chosen = np.ones(len(values), bool) if value == "(all)" else np.asarray(values == value)
            rows += [AuditRow(value, title, one) for one in shares(found, names, chosen, sure=sure)]
    name = f"{encoder.name} {encoder.tag}"
    return Audit(str(Path(folder).name), by, name, len(values), sure, tuple(rows))


def audit_page(audit: Audit) -> str:
    """The audit as one self-contained HTML page: a bar for each share, its interval as a line."""
    parts = [
        "<!doctype html>", '<html lang="en"><meta charset="utf-8">',
        f"<title>Audit of {html.escape(audit.catalog)} by {html.escape(audit.by)}</title>",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse;width:100%}td,th{padding:.2rem .6rem;text-align:left}"
        ".n{text-align:right;font-variant-numeric:tabular-nums}tr.first td{border-top:1px solid #8888}"
        ".bar{position:relative;height:1rem;min-width:12rem;background:#8882}.bar i{position:absolute;top:0;bottom:0;left:0;"
        "background:#c2410c}.bar b{position:absolute;top:.42rem;height:.16rem;background:currentColor}</style>",
        f"<h1>Attributes by {html.escape(audit.by)}</h1>",
        f"<p>{audit.images:,} images of {html.escape(audit.catalog)}; encoder {html.escape(audit.encoder)}; "
        f"an attribute counts from a probability of {audit.sure:g}.</p>",
        "<h2>What this can't show</h2><ul>", *(f"<li>{html.escape(one)}</li>" for one in CAVEATS), "</ul>",
    ]  # fmt: skip
    for title in dict.fromkeys(row.attributes for row in audit.rows):
        parts.append(f"<h2>{html.escape(title)}</h2><table><thead><tr><th>{html.escape(audit.by)}<th>attribute<th class=n>images"
                     "<th class=n>share<th class=n>95 %<th></tr></thead><tbody>")  # fmt: skip
        parts += _lines([row for row in audit.rows if row.attributes == title])
        parts.append("</tbody></table>")
    return "\n".join([*parts, "</html>", ""])


def _lines(rows: Sequence[AuditRow]) -> list[str]:
    lines, last = [], None
    for row in rows:
        one, first = row.found, row.by != last
        last = row.by
        bar = (
            f'<div class="bar"><i style="width:{100 * one.share:.1f}%"></i><b style="left:{100 * one.low:.1f}%;'
            f'width:{100 * (one.high - one.low):.1f}%"></b></div>'
        )
        lines.append(
            f"<tr{' class=first' if first else ''}><td>{html.escape(row.by) if first else ''}<td>{html.escape(one.attribute)}"
            f'<td class="n">{one.count} of {one.images}<td class="n">{one.share:.0%}<td class="n">{one.low:.0%} to {one.high:.0%}'
            f"<td>{bar}</tr>"
        )
    return lines
