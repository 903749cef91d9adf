"""What is known about a model before its weights are loaded: identity, default settings, accepted sizes.

Nothing here imports torch or diffusers: planning a sweep reads a few small JSON files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.foundation.files import storage_error
from nonesuch.generators.digests import component_digest, folder_digest
from nonesuch.generators.sweepfile.connections import Connection
from nonesuch.generators.sweepfile.settings import Settings

EMBEDDED_FOLDER: Final = Path(__file__).parent / "embedded"
MAX_SIZE: Final = 4096  # px; largest side accepted of a model that does not say
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_UNRESOLVED: Final = "unresolved"
_TRANSFORMER_SAMPLE: Final = 128  # latents per side, where a transformer's configuration does not say


@dataclass(frozen=True, slots=True)
class Defaults:
    """Settings that a sweep need not name."""

    width: int = 512  # px
    height: int = 512  # px
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = "default"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class Remote:
    """How a model that another program or a service draws with is reached, and what it can do."""

    url: str  # address without credentials
    connection: Connection  # limits, prices, and where the key is
    paid: bool = False  # whether an image costs money
    reproducible: bool = True  # whether the same seed comes back to the same image
    ignores: frozenset[str] = (
        frozenset()
    )  # of steps, guidance, scheduler, dtype, negative: has no such setting
    starts_from: frozenset[str] = frozenset()  # of "init_image", "mask": what it can start from
    workflow: str = ""  # of ComfyUI: the graph as JSON
    bound: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # recipe field → the graph's NODE.INPUTs
    output: str = ""  # the graph's node whose image counts


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """One model that goes beside a pipeline: a ControlNet, an image encoder."""

    digest: str  # SHA-256 over configuration and weights, or "hub id@commit"
    width: int | None  # numbers of a text embedding that it takes, where it says so


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as the matrix and the backends need to know it."""

    model: str  # as the sweep names it
    backend: str  # kind of backend that draws with it: "diffusers", "noise"
    digest: str  # SHA-256 over the folder's weights and configuration, or "hub id@commit"
    defaults: Defaults
    folder: Path | None = None  # local pipeline folder
    hub_id: str | None = None
    revision: str | None = None  # branch, tag or commit asked for, later the commit
    pipeline: str | None = None  # class name in model_index.json
    size_multiple: int = 8  # px; width and height are multiples of it
    min_size: int = 8  # px
    max_size: int = MAX_SIZE  # px
    sizes: tuple[
        tuple[int, int], ...
    ] = ()  # the only (width, height) it draws; () leaves it to the limits above
    remote: Remote | None = None  # of an engine or service
    text_width: int | None = None  # numbers of a text embedding that the denoiser takes, where it says so

    @property
    def resolved(self) -> bool:
        """Whether the digest names exact weights; a hub id that is not in the local cache does not yet."""
        return not self.digest.startswith(f"{_UNRESOLVED}:")

    def check_size(self, width: int, height: int, *, where: str) -> None:
        """Raise InputError for a size that the model does not draw."""
        if self.sizes:
            if (width, height) not in self.sizes:
                raise InputError(
                    f"{width}x{height} is not a size that {self.model} draws",
                    where=where,
                    hint=f"Use one of {', '.join(f'{w}x{h}' for w, h in self.sizes)}.",
                )
            return
        for name, value in (("width", width), ("height", height)):
            if value % self.size_multiple or not self.min_size <= value <= self.max_size:
                raise InputError(
                    f"{name} {value} is not a size that {self.model} draws",
                    where=where,
                    hint=f"Use a multiple of {self.size_multiple} from {self.min_size} to {self.max_size} px.",
                )


def folder_facts(model: str, folder: Path) -> ModelFacts:
    """Facts of a local diffusers pipeline folder. Raises InputError when it is not one.

    A file `defaults.json` in it may name width, height, steps, guidance, scheduler, dtype,
    size_multiple, min_size and max_size; without it, the size is what the configuration says the
    model was trained at, and the rest is 20 steps and a guidance scale of 5.
    """
    digest = folder_digest(folder)
    return _described(ModelFacts(model, "diffusers", digest, Defaults(), folder=folder), folder)


def hub_facts(model: str, revision: str | None, *, network: bool) -> ModelFacts:
    """Facts of a model on the Hugging Face hub: from the local cache, or with `network` from the hub.

    Without either, the facts are unresolved: enough for a plan, not for drawing. Raises InputError
    for an id or revision that the hub does not have and DependencyError when it can't be reached.
    """
    wanted = revision or "main"
    folder = _fetch_configuration(model, wanted) if network else _cached_snapshot(model, wanted)
    if folder is None:
        commit = wanted if _COMMIT.fullmatch(wanted) else None
        digest = f"{model}@{commit}" if commit else f"{_UNRESOLVED}:{model}@{wanted}"
        return ModelFacts(model, "diffusers", digest, Defaults(), hub_id=model, revision=wanted)
    commit = folder.name
    facts = ModelFacts(model, "diffusers", f"{model}@{commit}", Defaults(), hub_id=model, revision=commit)
    return _described(facts, folder)


def component_facts(model: str, revision: str | None, *, network: bool, where: str) -> ComponentFacts:
    """Facts of a ControlNet or an image encoder: a folder with config.json, or a hub id as hub_facts has it.

    Raises InputError for a folder that is none and a name that is no hub id; DependencyError as hub_facts does.
    """
    folder: Path | None = Path(model)
    if Path(model).is_dir():
        if not (Path(model) / "config.json").is_file():
            raise InputError(f"{model} is not a model's folder: it has no config.json", where=where)
        digest = component_digest(Path(model))
    elif is_hub_id(model) and not model.startswith((".", "/")):
        wanted = revision or "main"
        folder = (
            _fetch_configuration(model, wanted) if network else _cached_snapshot(model, wanted, "config.json")
        )
        digest = f"{_UNRESOLVED}:{model}@{wanted}" if folder is None else f"{model}@{folder.name}"
    else:
        raise InputError(f"there is no folder {model}, and it is no hub id (owner/name)", where=where)
    width = _read_json(folder / "config.json").get("cross_attention_dim") if folder else None
    return ComponentFacts(digest, width if isinstance(width, int) else None)


def is_hub_id(model: str) -> bool:
    """Whether a name has the form owner/name."""
    return _HUB_ID.fullmatch(model) is not None


def _described(facts: ModelFacts, folder: Path) -> ModelFacts:
    """The facts with what the folder's configuration says about the pipeline and its sizes."""
    index = _read_json(folder / "model_index.json")
    factor = _vae_factor(folder)
    multiple, side = factor, None
    text_width = _read_json(folder / "unet" / "config.json").get("cross_attention_dim")
    for component in ("unet", "transformer", "prior"):
        config = _read_json(folder / component / "config.json")
        sample = config.get("sample_size")
        if isinstance(sample, list):
            sample = sample[0]
        if component == "transformer" and config:
            multiple = 2 * factor  # transformers see the latents in patches of two
            sample = sample or _TRANSFORMER_SAMPLE
        if isinstance(sample, int):
            side = sample * factor
            break
    stated = _read_json(folder / "defaults.json")
    defaults = Defaults(width=side or 512, height=side or 512)
    settings = _stated_settings(stated, folder / "defaults.json")
    sizes = {
        name: stated[name] if isinstance(stated.get(name), int) and stated[name] > 0 else fallback
        for name, fallback in (("size_multiple", multiple), ("min_size", multiple), ("max_size", MAX_SIZE))
    }
    return replace(
        facts,
        pipeline=index.get("_class_name"),
        defaults=replace(defaults, **settings),
        size_multiple=sizes["size_multiple"],
        min_size=sizes["min_size"],
        max_size=sizes["max_size"],
        text_width=text_width if isinstance(text_width, int) else None,
    )


def _stated_settings(stated: dict[str, Any], path: Path) -> dict[str, Any]:
    """The fields of Defaults that defaults.json names, by its keys: those of a sweep's settings."""
    names = ("width", "height", "steps", "guidance", "scheduler", "dtype")
    try:
        chosen = Settings.model_validate({name: stated[name] for name in names if name in stated}).chosen()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{key}: {first['msg']}", where=str(path)) from error
    if "guidance" in chosen:
        chosen["guidance_scale"] = chosen.pop("guidance")
    return chosen


def _vae_factor(folder: Path) -> int:
    """How many pixels a latent is wide, by the rule that diffusers' pipelines use themselves."""
    for component in ("vae", "vqvae", "movq"):
        config = _read_json(folder / component / "config.json")
        if "spatial_compression_ratio" in config:
            return int(config["spatial_compression_ratio"])
        for key in ("block_out_channels", "encoder_block_out_channels"):
            if config.get(key):
                return int(2 ** (len(config[key]) - 1))
    return 8


def _read_json(path: Path) -> dict[str, Any]:
    """A configuration file's content, {} when there is none. Raises InputError when it is broken."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise storage_error(error, path) from error
    except ValueError as error:
        raise InputError(f"is not valid JSON ({error})", where=str(path)) from error
    return content if isinstance(content, dict) else {}


def _cached_snapshot(model: str, revision: str, file: str = "model_index.json") -> Path | None:
    """The folder of a revision in the hub client's local cache, None when it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, file, revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _fetch_configuration(model: str, revision: str) -> Path:
    """Fetch a revision's JSON files into the hub client's cache; the snapshot's folder is named by commit."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=["*.json"]))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            f"the hub has no model {model!r} with revision {revision!r}, or it needs a login",
            where="model",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise DependencyError(
            f"the model {model!r} could not be fetched ({type(error).__name__})",
            where="model",
            hint="Check the connection, or name a local folder as the model.",
        ) from error
