"""The sweep file's JSON Schema, from its model; `python -m nonesuch.generators.sweepfile.json_schema` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from nonesuch.generators.sweepfile.sweep import Sweep

SCHEMA_FILE: Final = Path(__file__).with_name("sweep.schema.json")


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a sweep file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Sweep.model_json_schema(),
        "title": "nonesuch sweep",
    }


def schema_text() -> str:
    """The schema as its committed file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from nonesuch.foundation.files import atomic_write

    atomic_write(SCHEMA_FILE, schema_text().encode())
