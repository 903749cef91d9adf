"""The sweep file's `engine`: which workers draw. A choice for each run, never part of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.settings import Strict

PATIENCE = 3600.0  # seconds without one finished image after which a worker counts as hung


class RunEngine(Strict):
    """Where the shards of one run are drawn."""

    name: Annotated[
        str | None,
        Field(description="here (one after another), processes (a worker for each device) or ray"),
    ] = None
    address: Annotated[str | None, Field(description="of a Ray cluster: auto, or ray://HOST:10001")] = None
    devices: Annotated[
        int | list[str] | None,
        Field(description="how many devices draw side by side, or their names: [cuda:0, cuda:1]"),
    ] = None
    timeout: Annotated[
        float | None,
        Field(gt=0, description="seconds without a finished image after which a worker is replaced"),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        keys = handler(schema)
        return {"anyOf": [{"type": "string"}, keys]}

    @model_validator(mode="after")
    def _devices_fit(self) -> RunEngine:
        if isinstance(self.devices, int) and self.devices < 1:
            raise ValueError("devices: at least one is needed")
        if isinstance(self.devices, list) and not self.devices:
            raise ValueError("devices: the list is empty")
        if self.chosen == "here" and (self.timeout or self.devices or self.address):
            raise ValueError(
                "the engine here draws in this process, which knows no address, no devices and can't end a "
                "hanging backend; choose processes or ray"
            )
        if self.address and self.chosen != "ray":
            raise ValueError("address: only the engine ray has one")
        return self

    def changed(self, keys: Mapping[str, Any] | None) -> RunEngine:
        """This choice with some keys replaced; naming an engine drops the other keys. Raises InputError."""
        given = {name: value for name, value in (keys or {}).items() if value is not None}
        if not given:
            return self
        kept = {} if "name" in given else self.model_dump(exclude_none=True)
        try:
            return RunEngine.model_validate(kept | given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(first["msg"].removeprefix("Value error, "), where="engine") from error

    @property
    def chosen(self) -> str:
        """The engine's name: by default what the other keys call for."""
        if self.name is not None:
            return self.name
        if self.address:
            return "ray"
        return "processes" if self.devices or self.timeout else "here"

    @property
    def patience(self) -> float:
        """Seconds without news after which a worker counts as hung."""
        return PATIENCE if self.timeout is None else self.timeout
