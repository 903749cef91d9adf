"""How much larger the nodes of a ComfyUI graph make a latent or picture, and by what."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nonesuch.formats.graph import Graph
from nonesuch.formats.graph_samplers import number

THERE_AND_BACK: Final = ("VAEDecode", "VAEEncode", "VAEDecodeTiled", "VAEEncodeTiled")  # no loss
_FACTOR: Final = re.compile(r"(?<![\d.])([2348])x|x([2348])(?!\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a way from one sampler to the next, or to the saved image, does to the size."""

    factor: float | None  # of the side; None where a node does something else
    upscaler: str  # lanczos, latent, or the file of a network
    nodes: tuple[str, ...]  # that are understood
    network: str | None = None  # the node that enlarges by that network


def scaling_of(graph: Graph, way: Iterable[str], width: int | None) -> Scaling:
    """The scaling on a way, given from the sampler on; `width` in px is that of the first drawing."""
    factor, upscaler, network, nodes = 1.0, "lanczos", None, list[str]()
    for key in way:
        kind = graph.kind(key)
        by, wide = number(graph.value(key, "scale_by")), number(graph.value(key, "width"))
        if kind in ("LatentUpscaleBy", "ImageScaleBy") and by:
            factor *= by
        elif kind in ("LatentUpscale", "ImageScale") and wide and width:
            factor = wide / width
        elif kind == "ImageUpscaleWithModel":
            net = graph.first(graph.linked(key, "upscale_model"), "model_name")
            if net is None:
                return Scaling(None, upscaler, tuple(nodes))
            network, upscaler = key, net[1]
            sign = _FACTOR.search(upscaler)
            factor *= int(sign[1] or sign[2]) if sign else 1
            nodes.append(net[0])
        elif kind not in THERE_AND_BACK:
            return Scaling(None, upscaler, tuple(nodes), network)
        if kind.startswith("LatentUpscale"):
            upscaler, network = "latent", None
        nodes.append(key)
    return Scaling(round(factor, 4), upscaler, tuple(nodes), network)
