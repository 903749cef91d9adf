"""How engines and services are described and opened: addresses, keys, defaults of each kind.

Planning asks an engine on this machine for its model's hash and for what it lacks; another host only with
permission to use the network. Services are described without a request.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.base import BackendStopped
from nonesuch.generators.backends.remote import a1111, comfy_graph, comfyui, google, openai, stability
from nonesuch.generators.backends.remote.api_keys import read_key
from nonesuch.generators.backends.remote.drawing import Painter, RemoteBackend
from nonesuch.generators.backends.remote.http import Caller, NoImage
from nonesuch.generators.backends.remote.pace import Pace
from nonesuch.generators.models import Defaults, ModelFacts, Remote
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.connections import Connection, is_loopback

_RETRIES: Final = 4
_TIMEOUT: Final = 600.0  # seconds; an engine draws one image after another
_SERVICE_TIMEOUT: Final = 180.0
_SERVICE_CONCURRENCY: Final = 4
_ENGINE_CONCURRENCY: Final = 2  # one is drawn while the last one travels


def caller_for(
    kind: str, facts: ModelFacts | None, url: str, connection: Connection, *, reads_key: bool = True
) -> Caller:
    """A caller with the key in the header that the kind wants. Raises InputError for a key that is not there."""
    service = kind in _SERVICES
    named = connection.key or (_key_of(kind, url) if service else None)
    secret = read_key(named, where=f"connections: {kind}") if named and reads_key else None
    headers: dict[str, str] = {"User-Agent": "nonesuch"}
    auth: tuple[str, str] | None = None
    if secret is not None and kind == "a1111":
        user, _, password = secret.partition(":")
        auth = (user, password)
    elif secret is not None and kind == "google" and not google.is_vertex(url):
        headers["x-goog-api-key"] = secret
    elif secret is not None:
        headers["Authorization"] = f"Bearer {secret}"
    return Caller(
        url,
        what=f"{_NAMES[kind]} at {url}" if not service or connection.url else _NAMES[kind],
        timeout=connection.timeout or (_SERVICE_TIMEOUT if service else _TIMEOUT),
        retries=_RETRIES if connection.retries is None else connection.retries,
        pace=Pace(connection.per_minute),
        headers=headers,
        secret=secret,
        auth=auth,
    )


class _Kind(ABC):
    """What all kinds share: they need to know how the engine is reached."""

    name: str

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """Facts with the engine's defaults."""
        return self.describe_remote(model, revision, folder=folder, network=network, connection=Connection())

    @abstractmethod
    def describe_remote(
        self, model: str, revision: str | None, *, folder: Path, network: bool, connection: Connection
    ) -> ModelFacts:
        """Facts with the connection that the sweep names. Raises InputError as `describe` does."""

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> RemoteBackend:
        """A backend that has not asked the engine anything yet. Raises InputError when its key is not there."""
        assert facts.remote is not None
        connection = facts.remote.connection
        if not network and not is_loopback(facts.remote.url):
            return RemoteBackend(facts, _Offline(facts), concurrency=1)
        caller = caller_for(self.name, facts, facts.remote.url, connection)
        usual = _SERVICE_CONCURRENCY if facts.remote.paid else _ENGINE_CONCURRENCY
        return RemoteBackend(facts, self.painter(facts, caller), concurrency=connection.concurrency or usual)

    @abstractmethod
    def painter(self, facts: ModelFacts, caller: Caller) -> Painter:
        """What draws one recipe at a time through the caller."""


class ComfyKind(_Kind):
    """`comfyui:WORKFLOW.json`, a workflow in API format, relative to the sweep file."""

    name = "comfyui"

    def describe_remote(
        self, model: str, revision: str | None, *, folder: Path, network: bool, connection: Connection
    ) -> ModelFacts:
        """Facts of a workflow: its digest is over its nodes, and over the weights' hashes where ComfyUI knows them."""
        path = folder / model.split(":", 1)[1]
        graph = comfy_graph.read_graph(path, where="model")
        own = {name: connection.targets(name) for name in connection.bind}
        fields = comfy_graph.bindings(graph, own, where="model")
        output = comfy_graph.output_node(graph, connection.output, where="model")
        url = connection.url or "http://127.0.0.1:8188"
        # Facets bound to inputs are options, which the graph knows by NODE.INPUT.
        options = {
            name: [comfy_graph.resolved(graph, one, where="model") for one in targets]
            for name, targets in own.items()
            if name not in comfy_graph.FIELDS
        }
        connection = connection.model_copy(update={"bind": {**connection.bind, **options}})
        remote = Remote(
            url,
            connection,
            ignores=frozenset(
                {"dtype"}
                | {one for one in ("steps", "guidance", "scheduler", "negative") if one not in fields}
            ),
            starts_from=frozenset({"init_image", "mask"} & set(fields)),
            workflow=json.dumps(graph),
            bound=fields,
            output=output,
        )
        facts = ModelFacts(
            f"comfyui:{path.name}",
            "comfyui",
            "",
            _workflow_defaults(graph, fields),
            remote=remote,
            size_multiple=8,
        )
        if not (network or is_loopback(url)):
            return replace(facts, digest=f"unresolved:{canonical_digest(graph)}")
        hashes = _asked(
            self.name, url, connection, lambda caller: comfyui.weights(caller, graph, where="model")
        )
        return replace(facts, digest=comfy_graph.graph_digest(graph, fields, hashes))

    def painter(self, facts: ModelFacts, caller: Caller) -> Painter:
        """A painter that queues the workflow."""
        assert facts.remote is not None
        return comfyui.ComfyUI(facts, caller, facts.remote.connection.timeout or _TIMEOUT)


class A1111Kind(_Kind):
    """`a1111:CHECKPOINT`, by title, name, file name or hash; `a1111:` alone is the checkpoint that is loaded."""

    name = "a1111"

    def describe_remote(
        self, model: str, revision: str | None, *, folder: Path, network: bool, connection: Connection
    ) -> ModelFacts:
        """Facts of a checkpoint: its digest is the SHA-256 that the web UI computes."""
        url = connection.url or "http://127.0.0.1:7860"
        remote = Remote(
            url, connection, ignores=frozenset({"dtype"}), starts_from=frozenset({"init_image", "mask"})
        )
        facts = ModelFacts(
            model, "a1111", f"unresolved:{model}", a1111.DEFAULTS, remote=remote, size_multiple=8
        )
        if not (network or is_loopback(url)):
            return facts
        wanted = model.split(":", 1)[1]
        title, digest = _asked(self.name, url, connection, lambda caller: a1111.describe(caller, wanted))
        return replace(facts, digest=digest, revision=title)

    def painter(self, facts: ModelFacts, caller: Caller) -> Painter:
        """A painter that speaks to the web UI."""
        return a1111.A1111(facts, caller)


class ServiceKind(_Kind):
    """`openai:MODEL`, `stability:MODEL` or `google:MODEL`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def describe_remote(
        self, model: str, revision: str | None, *, folder: Path, network: bool, connection: Connection
    ) -> ModelFacts:
        """Facts of a service's model. With leave to use the network, a missing or refused key and an empty account
        are found here, before anything is drawn."""
        module = _SERVICES[self.name]
        url = connection.url or module.URL
        if not url.startswith("https://") and not is_loopback(url):
            raise InputError("a service is reached over https only", where=f"connections: {self.name}: url")
        name = model.split(":", 1)[1]
        remote = Remote(
            url,
            connection,
            paid=True,
            reproducible=self.name == "stability",
            ignores=getattr(module, "IGNORES", frozenset()),
            starts_from=frozenset({"init_image", "mask"}) if name.startswith("gpt-image-") else frozenset(),
        )
        facts: ModelFacts = module.facts_of(model, name, remote)
        if network:
            _asked(self.name, url, connection, lambda caller: self.painter(facts, caller).ready())
        return facts

    def painter(self, facts: ModelFacts, caller: Caller) -> Painter:
        """A painter that buys images."""
        if self.name == "google":
            assert facts.remote is not None
            return google.Imagen(facts, caller, vertex=google.is_vertex(facts.remote.url))
        return openai.OpenAI(facts, caller) if self.name == "openai" else stability.Stability(facts, caller)


class _Offline:
    """A painter for runs that may not use the network."""

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts

    def ready(self) -> None:
        """Never."""
        raise BackendStopped(
            f"{self._facts.model} draws over the network, which this run may not use",
            hint="Leave --offline out of `run`; give --online to `reproduce`.",
        )

    def check(self, recipe: Recipe) -> None:
        """Never."""
        self.ready()

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Any:
        """Never."""
        self.ready()

    def close(self) -> None:
        """There is nothing to release."""


def _asked(kind: str, url: str, connection: Connection, question: Callable[[Caller], Any]) -> Any:
    """What the engine answers while planning; that it can't answer is an InputError at the model's place."""
    patient = connection.retries if connection.retries is not None else 1
    caller = caller_for(
        kind,
        None,
        url,
        connection.model_copy(
            update={"retries": min(patient, 1), "timeout": min(connection.timeout or 60.0, 60.0)}
        ),
    )
    try:
        return question(caller)
    except (BackendStopped, NoImage) as error:
        raise InputError(error.message, where="model", hint=error.hint) from error
    finally:
        caller.close()


def _key_of(kind: str, url: str) -> str:
    return google.VERTEX_KEY if kind == "google" and google.is_vertex(url) else str(_SERVICES[kind].KEY)


def _workflow_defaults(graph: comfy_graph.Graph, fields: Mapping[str, tuple[str, ...]]) -> Defaults:
    """The settings in the workflow itself."""

    def number(field: str, fallback: float) -> float:
        value = comfy_graph.value_of(graph, fields[field][0]) if field in fields else fallback
        return value if isinstance(value, int | float) and not isinstance(value, bool) else fallback

    return Defaults(
        width=int(number("width", 512)),
        height=int(number("height", 512)),
        steps=int(number("steps", 0)),
        guidance_scale=float(number("guidance", 0.0)),
    )


_NAMES: Final = {
    "comfyui": "ComfyUI", "a1111": "the web UI", "openai": "OpenAI", "stability": "Stability AI", "google": "Google",
}  # fmt: skip
_SERVICES: Final[Mapping[str, Any]] = {"openai": openai, "stability": stability, "google": google}

# what the registry of backends opens by these names
OpenAIKind: Final = partial(ServiceKind, "openai")
StabilityKind: Final = partial(ServiceKind, "stability")
GoogleKind: Final = partial(ServiceKind, "google")
