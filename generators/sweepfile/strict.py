"""The base of every model of the sweep file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of the models of the sweep file: unknown keys are errors, values can't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
