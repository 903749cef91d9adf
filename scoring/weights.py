"""Where an encoder's weights are; nothing is downloaded unless the user allows it."""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nonesuch.foundation.errors import DependencyError, InputError, ScoringError

_WEIGHTS = "open_clip_model.safetensors"  # the name open_clip itself writes
_CONFIG = "open_clip_config.json"
_hub_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Source:
    """A model that open_clip can build, with the weight file that is known to be on this machine."""

    name: str  # what catalogs call it
    tag: str | None  # what pins the weights; None: the start of their digest
    model: str  # open_clip's model_name
    pretrained: str | None  # open_clip's tag, None where `model` names the weights too
    checkpoint: Path  # the weight file that open_clip will read
    options: dict[str, Any] = field(default_factory=dict)  # more arguments for open_clip.create_model


@contextmanager
def hub_access(online: bool) -> Iterator[None]:
    """While open, the hub client answers from its cache only, unless `online`.

    huggingface_hub reads HF_HUB_OFFLINE at import, so the environment would come too late; its constant
    is asked before every request, by transformers too. One load at a time: the constant is process-wide.
    """
    from huggingface_hub import constants

    with _hub_lock:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = before or not online
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def local_source(folder: Path, *, name: str) -> Source:
    """The open_clip folder `folder`. Raises DependencyError when its configuration or weights are missing."""
    for file in (_CONFIG, _WEIGHTS):
        if not (folder / file).is_file():
            raise DependencyError(
                f"has no {file}",
                where=str(folder),
                hint="An encoder folder holds open_clip_config.json, open_clip_model.safetensors and, "
                "where the configuration names one, a tokenizer.",
            )
    return Source(name, None, f"local-dir:{folder}", None, folder / _WEIGHTS)


def hub_source(repo: str, *, online: bool) -> Source:
    """The open_clip model `repo` ("owner/model") of the hub. Raises DependencyError when it isn't in the cache."""
    from open_clip.pretrained import download_pretrained_from_hf

    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InputError(f"'hf-hub:{repo}' is not hf-hub:owner/model")
    with hub_access(online):
        try:
            download_pretrained_from_hf(repo, filename=_CONFIG)
            checkpoint = Path(download_pretrained_from_hf(repo))
        except Exception as error:  # open_clip and the hub client raise many kinds for "not there"
            raise _missing(f"hf-hub:{repo}", online, error) from error
    return Source(f"hf-hub:{repo}", _revision(checkpoint), f"hf-hub:{repo}", None, checkpoint)


def tag_source(name: str, *, online: bool) -> Source:
    """The pretrained model "MODEL/TAG" of open_clip's own list.

    Raises InputError for a name that open_clip doesn't know, DependencyError when its weights aren't here.
    """
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    model, _, tag = name.rpartition("/")
    models = sorted({known for known, _ in open_clip.list_pretrained()})
    if model not in models:
        near = difflib.get_close_matches(model, models, n=5, cutoff=0.3)
        raise InputError(
            f"open_clip has no pretrained model {model!r}",
            hint=f"Near: {', '.join(near) or 'none'}. A folder is written local-dir:{name}.",
        )
    config = get_pretrained_cfg(model, tag)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model))
        raise InputError(f"open_clip has no weights {tag!r} for {model}", hint=f"Known: {tags}.")
    if not online and not config.get("hf_hub") and not _fetched(config["url"]):
        raise _missing(name, online, None)
    with hub_access(online):
        try:
            checkpoint = Path(download_pretrained(config))
        except Exception as error:  # as above
            raise _missing(name, online, error) from error
    # open_clip 3 only warns when a tag was trained with QuickGELU and the plain configuration lacks it,
    # and then computes other embeddings than the tag's; the aesthetic heads need the tag's own.
    options = {"force_quick_gelu": bool(config.get("quick_gelu"))}
    return Source(model, tag, model, tag, checkpoint, options)


def build(source: Source, *, online: bool) -> tuple[Any, Any]:
    """The torch module on the CPU in float32 and its tokenizer. Raises ScoringError when it can't be built."""
    import open_clip

    with hub_access(online):
        try:
            model = open_clip.create_model(
                source.model,
                pretrained=source.pretrained,
                require_pretrained=True,
                weights_only=True,
                **source.options,
            )
            tokenizer = open_clip.get_tokenizer(source.model)
        except Exception as error:  # torch, transformers, timm and safetensors each raise their own
            raise ScoringError(
                f"the encoder can't be loaded: {error}",
                where=str(source.checkpoint),
                hint="Check that the weights, the configuration and the tokenizer belong together.",
            ) from error
    return model.eval(), tokenizer


def _fetched(url: str) -> bool:
    """Whether open_clip's own download folder has the file of `url`."""
    return (Path("~/.cache/clip").expanduser() / os.path.basename(url)).is_file()


def _revision(checkpoint: Path) -> str | None:
    """The commit in the hub cache's path …/snapshots/COMMIT/file."""
    folder = checkpoint.parent
    return folder.name if folder.parent.name == "snapshots" else None


def _missing(name: str, online: bool, error: Exception | None) -> DependencyError:
    if online:
        return DependencyError(f"the weights of {name} could not be fetched: {error}")
    return DependencyError(
        f"the weights of {name} are not on this machine",
        hint="Allow fetching them (online), or use the encoder 'embedded', which is shipped.",
    )
