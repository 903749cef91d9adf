"""The plain script that a competent user would write: what benchmarks/pipeline.py compares the pipeline with.

One prompt at a time: diffusers draws, open_clip scores, invisible-watermark marks, Pillow writes a PNG with its
parameters, c2pa-python signs it with its defaults, pandas keeps the rows. Models are loaded once, outside the loop.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import open_clip
import pandas as pd
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.drawing_work import Work, dtype_on
from nonesuch.provenance.signing.keys import load_or_make

WATERMARKED_PIXELS = 256 * 256  # invisible-watermark refuses smaller pictures


class PlainFinish:
    """What the script does with a picture after drawing and scoring it."""

    def __init__(self) -> None:
        pair = load_or_make()
        info = c2pa.C2paSignerInfo(b"es256", pair.chain_pem().encode(), pair.key_pem(), None)
        self.signer = c2pa.Signer.from_info(info)

    def watermarked(self, image: Image.Image, number: int) -> Image.Image:
        """With invisible-watermark's dwtDct of 64 bits."""
        import cv2
        from imwatermark import WatermarkEncoder  # type: ignore[import-not-found,unused-ignore]

        encoder = WatermarkEncoder()
        encoder.set_watermark("bytes", number.to_bytes(8, "big"))
        marked = encoder.encode(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR), "dwtDct")
        return Image.fromarray(cv2.cvtColor(marked, cv2.COLOR_BGR2RGB))

    def encoded(self, image: Image.Image, prompt: str, seed: int) -> io.BytesIO:
        """Pillow's PNG with the parameters as text."""
        facts = PngInfo()
        facts.add_text("parameters", json.dumps({"prompt": prompt, "seed": seed}))
        encoded = io.BytesIO()
        image.save(encoded, "PNG", pnginfo=facts)
        return encoded

    def signed(self, encoded: io.BytesIO, title: str, prompt: str) -> bytes:
        """The file with a credential by c2pa-python's defaults."""
        manifest = {
            "claim_generator_info": [{"name": "plain-script", "version": "1"}],
            "title": title,
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {
                        "actions": [
                            {
                                "action": "c2pa.created",
                                "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
                            }
                        ]
                    },
                },
                {"label": "org.example.prompt", "data": {"prompt": prompt}},
            ],
        }
        encoded.seek(0)
        signed = io.BytesIO()
        with c2pa.Builder(manifest) as builder:
            builder.sign(self.signer, "image/png", encoded, signed)
        return signed.getvalue()


@dataclass
class PlainScript:
    """The loaded models; `run` is the loop."""

    work: Work
    encoder: str  # folder of an open_clip model
    packages: Path | None = None  # folder that holds invisible-watermark, which clashes with headless OpenCV
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.unmarked = why_unmarked(self.work.side, self.packages)
        dtype = dtype_on(self.work.device)  # the embedded model's parts are stored in different ones
        self.pipe = DiffusionPipeline.from_pretrained(self.work.folder, dtype=dtype).to(self.work.device)
        self.pipe.set_progress_bar_config(disable=True)
        self.clip, self.preprocess = open_clip.create_model_from_pretrained(f"local-dir:{self.encoder}")
        self.clip = self.clip.to(self.work.device)
        self.tokenizer = open_clip.get_tokenizer(f"local-dir:{self.encoder}")
        self.finish = PlainFinish()

    def run(self, out: Path, count: int | None = None) -> int:
        """Draw, score, mark, write and sign the first `count` images of the work (all by default); how many."""
        out.mkdir(parents=True)
        items = self.work.items[:count]
        self.rows = []
        for number, (prompt, seed) in enumerate(items):
            image = self.pipe(
                prompt, generator=torch.Generator("cpu").manual_seed(seed), **self.work.arguments()
            ).images[0]
            score = self._score(image, prompt)
            if self.unmarked is None:
                image = self.finish.watermarked(image, number)
            path = out / f"{number:06d}.png"
            path.write_bytes(self.finish.signed(self.finish.encoded(image, prompt, seed), path.name, prompt))
            self.rows.append({"file": path.name, "prompt": prompt, "seed": seed, "score": score})
        pd.DataFrame(self.rows).to_parquet(out / "catalog.parquet")
        return len(items)

    def _score(self, image: Image.Image, prompt: str) -> float:
        with torch.no_grad():
            picture = self.clip.encode_image(self.preprocess(image)[None].to(self.work.device))
            text = self.clip.encode_text(self.tokenizer([prompt]).to(self.work.device))
        return float(torch.cosine_similarity(picture, text)[0])


def why_unmarked(side: int, packages: Path | None) -> str | None:
    """Why this script's pictures get no watermark; None when they do."""
    if side * side < WATERMARKED_PIXELS:
        return "invisible-watermark refuses pictures under 256x256"
    if packages is not None and str(packages) not in sys.path:
        sys.path.append(str(packages))
    try:
        importlib.import_module("imwatermark")
    except ImportError as error:
        return f"invisible-watermark can't be imported ({error}); see --packages"
    return None
