"""An open_clip model as an Encoder: batching, precision, device, and the cache of texts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import file_digest
from nonesuch.foundation.images import RGB
from nonesuch.foundation.processor import computed
from nonesuch.scoring.base import Encoder, Floats, Precision
from nonesuch.scoring.preprocess import describe, prepare, same_sized
from nonesuch.scoring.weights import Source, build

if TYPE_CHECKING:
    import torch

_TEXTS_KEPT = 32_768  # text embeddings in memory: 100 MB at 768 numbers each
_CPU_BATCH = 32  # images or texts for one forward pass
_GPU_BATCH = 256


def load(source: Source, *, device: str, precision: Precision, online: bool) -> Encoder:
    """Build the model of `source`, put it on `device` and wrap it as an Encoder.

    Raises InputError for an unknown device or precision, ScoringError when the model can't be built.
    """
    import torch

    if precision not in ("auto", "fp32", "bf16"):
        raise InputError(f"unknown precision {precision!r}", hint="Known: auto, fp32, bf16.")
    try:
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)

        def built() -> tuple[Any, Any]:
            model, tokenizer = build(source, online=online)
            # channels last: 1.5 times as fast for the embedded ResNet, and the same for ViTs
            return model.to(place, memory_format=torch.channels_last), tokenizer

        model, tokenizer = computed(place.type, built)
    except (RuntimeError, AssertionError) as error:  # torch's answers to a device that isn't there
        raise InputError(f"the device {device!r} can't be used: {error}") from error
    if precision == "auto":
        # Measured on one AVX-512 core: autocast halves ViT-B/32 (9.4 to 4.6 pictures/s) and speeds the
        # embedded ResNet up (219 to 369/s), which is a hundredth of the time drawing takes. Float32 it is.
        precision = "bf16" if place.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return OpenClipEncoder(source, model, tokenizer, place, precision)


class OpenClipEncoder:
    """See Encoder. Safe to call from several threads."""

    def __init__(
        self, source: Source, model: Any, tokenizer: Any, device: torch.device, precision: str
    ) -> None:
        from open_clip.transform import PreprocessCfg

        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._config = PreprocessCfg(**model.visual.preprocess_cfg)
        self._batch = _CPU_BATCH if device.type == "cpu" else _GPU_BATCH
        self._texts: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()
        self.name = source.name
        self.digest: str | None = file_digest(source.checkpoint)
        self.tag = source.tag or self.digest[:12]
        self.preprocessing = describe(self._config)
        self.precision = precision
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.dim = self.texts([""]).shape[1]

    def images(self, images: Sequence[RGB]) -> Floats:
        embeddings = np.zeros((len(images), self.dim), np.float32)
        for places, pictures in same_sized(images, self._batch):
            embeddings[places] = computed(self._device.type, partial(self._encoded, pictures))
        return embeddings

    def texts(self, texts: Sequence[str]) -> Floats:
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        wanted = dict.fromkeys(texts)
        with self._lock:  # also because a fast tokenizer can't be used by two threads at once
            missing = [text for text in wanted if text not in self._texts]
            found = {text: self._texts[text] for text in wanted if text in self._texts}
            for start in range(0, len(missing), self._batch):
                part = missing[start : start + self._batch]
                tokens = self._tokenizer(part)
                vectors = computed(self._device.type, partial(self._forward, self._model.encode_text, tokens))
                found.update(zip(part, vectors, strict=True))
            for text in wanted:
                self._texts[text] = found[text]
                self._texts.move_to_end(text)
            while len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def _encoded(self, pictures: RGB) -> Floats:
        batch = prepare(pictures, self._config, self._device)
        return self._forward(self._model.encode_image, batch)

    def _forward(self, encode: Any, batch: torch.Tensor) -> Floats:
        import torch

        with torch.inference_mode(), self._autocast():
            features = encode(batch.to(self._device)).float()
        features = torch.nn.functional.normalize(features, dim=-1)
        return np.asarray(features.cpu().numpy(), np.float32)

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self.precision == "bf16":
            return torch.autocast(self._device.type, torch.bfloat16)
        return nullcontext()
