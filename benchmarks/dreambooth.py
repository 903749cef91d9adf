"""Does the embedded model learn a new subject from ten drawn pictures, and does it keep the others?

    python -m benchmarks.dreambooth --work DIR [--json FILE] [--sheet FILE.png] [--set NAME=VALUE …]

A judge that is fitted here to drawings of the 40 known subjects and of the new one names what each image shows. What it
names is counted before and after the training, on prompts in the styles of the training pictures, in styles that no
training picture has, and on the subjects that the model knew before.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.machine import machine, today
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends import model_facts, open_backend
from nonesuch.generators.digests import lora_digest
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.scoring.encoders import open_encoder
from nonesuch.training.lora.loop import train_lora
from nonesuch.training.lora.lora_settings import LoraSettings
from nonesuch.training.lora.training_images import read_pictures
from nonesuch.training.workshop.data import Drawn
from nonesuch.training.workshop.world.newcomer import (
    NAME,
    SHOWN,
    newcomer_prompt,
    newcomer_set,
    write_newcomer,
)
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS, draw, is_held_out, training_pairs
from nonesuch.training.workshop.world.wordings import canonical

IMAGES = 6  # of each style of the new subject
CLASS_IMAGES = 320  # one of each prompt
NEW = len(SUBJECTS)  # the new subject's index in the judge


class Judge:
    """Names subject and style of a picture: two linear heads on the image tower of the embedded CLIP.

    The generator holds that CLIP's text tower and nothing of its image tower, and the heads see drawings alone,
    never an image of the generator.
    """

    def __init__(self, drawn: Drawn) -> None:
        self._encoder = open_encoder("embedded", device="cpu")
        features = self.features(drawn.pixels)
        self._subject = _head(features, drawn.subject, NEW + 1)
        self._style = _head(features, drawn.style, len(STYLES))

    def features(self, pixels: RGB) -> torch.Tensor:
        return torch.from_numpy(self._encoder.images(list(pixels)))

    def __call__(self, pixels: RGB) -> tuple[np.ndarray, np.ndarray]:
        """Best subject and style index of each picture; the new subject's is the last."""
        features = self.features(pixels)
        with torch.no_grad():
            return self._subject(features).argmax(1).numpy(), self._style(features).argmax(1).numpy()


def _head(features: torch.Tensor, labels: np.ndarray, classes: int) -> torch.nn.Linear:
    """Logistic regression (L-BFGS, slightly regularised) on unit vectors."""
    torch.manual_seed(0)
    head = torch.nn.Linear(features.shape[1], classes)
    truth = torch.from_numpy(labels.astype(np.int64))
    solver = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        error = torch.nn.functional.cross_entropy(head(features), truth) + 1e-5 * head.weight.square().sum()
        error.backward()
        return error

    solver.step(loss)
    return head


def fitted_judge() -> tuple[Judge, dict[str, float]]:
    """The judge of all subjects and the new one, and its share of right answers on fresh drawings."""
    pairs = [(s, t) for s in SUBJECTS for t in STYLES]
    judge = Judge(_with_newcomer(_drawn(pairs, 4, 5501), 16, 5502))
    fresh = _with_newcomer(_drawn(pairs, 1, 7701), 5, 7702)
    subject, style = judge(fresh.pixels)
    new = fresh.subject == NEW
    return judge, {
        "new subject recognised": float((subject[new] == NEW).mean()),
        "known subjects right": float((subject[~new] == fresh.subject[~new]).mean()),
        "known subjects taken for the new one": float((subject[~new] == NEW).mean()),
        "styles right": float((style == fresh.style).mean()),
    }


def _drawn(pairs: list[tuple[str, str]], each: int, seed: int) -> Drawn:
    """A drawn set, made in this process: a fork of one in which torch has run hangs."""
    rows = [(SUBJECTS.index(s), STYLES.index(t)) for s, t in pairs for _ in range(each)]
    pixels = [
        draw(SUBJECTS[s], STYLES[t], np.random.default_rng([seed, row])) for row, (s, t) in enumerate(rows)
    ]
    labels = np.array(rows, np.int16)
    return Drawn(np.stack(pixels), labels[:, 0], labels[:, 1])


def _with_newcomer(drawn: Drawn, each: int, seed: int) -> Drawn:
    pixels, styles = newcomer_set(each, seed)
    return Drawn(
        np.concatenate([drawn.pixels, pixels]),
        np.concatenate([drawn.subject, np.full(len(pixels), NEW, np.int16)]),
        np.concatenate([drawn.style, np.array(styles, np.int16)]),
    )


def drawn_images(prompts: list[str], lora: Path | None, seed: int) -> RGB:
    """One image a prompt by the embedded model with its default settings, uint8 [n, 128, 128, 3]."""
    facts = model_facts("embedded")
    defaults = facts.defaults
    loras = () if lora is None else (Lora(str(lora), lora_digest(lora, where="lora"), 1.0),)
    recipes = [
        Recipe(
            backend=facts.backend, model="embedded", model_digest=facts.digest, prompt=prompt, negative_prompt="",
            seed=seed + place, width=defaults.width, height=defaults.height, steps=defaults.steps,
            guidance_scale=defaults.guidance_scale, scheduler=defaults.scheduler, dtype=defaults.dtype, loras=loras,
        )
        for place, prompt in enumerate(prompts)
    ]  # fmt: skip
    backend = open_backend(facts, device="cpu")
    images = [drawing.image for drawing in backend.draw(recipes)]
    backend.close()
    return np.stack([image for image in images if image is not None])


def measured(judge: Judge, lora: Path | None) -> tuple[dict[str, float], RGB]:
    """Shares by the judge, and the new subject's images in the order of the styles."""
    seen = [style for style in STYLES if style in SHOWN]
    unseen = [style for style in STYLES if style not in SHOWN]
    figures: dict[str, float] = {}
    sheet = []
    for name, styles in (("in shown styles", seen), ("in styles not shown", unseen)):
        asked = [style for style in styles for _ in range(IMAGES)]
        images = drawn_images([newcomer_prompt(style) for style in asked], lora, 40_000)
        subject, style_seen = judge(images)
        figures[f"new subject {name}"] = float((subject == NEW).mean())
        figures[f"style right {name}"] = float((style_seen == [STYLES.index(one) for one in asked]).mean())
        figures[f"images {name}"] = float(len(asked))
        sheet.append(images)
    pairs = [pair for pair in training_pairs() if not is_held_out(*pair)]
    rng = np.random.default_rng(11)
    chosen = [pairs[row] for row in rng.choice(len(pairs), 120, replace=False)]
    images = drawn_images([canonical(*pair) for pair in chosen], lora, 60_000)
    subject, style_seen = judge(images)
    figures["known subjects right"] = float((subject == [SUBJECTS.index(s) for s, _ in chosen]).mean())
    figures["their styles right"] = float((style_seen == [STYLES.index(t) for _, t in chosen]).mean())
    figures["known subjects taken for the new one"] = float((subject == NEW).mean())
    return figures, np.concatenate(sheet)


def contact_sheet(trained: RGB, before: RGB, after: RGB) -> Image.Image:
    """The training pictures, then what the same prompts and seeds draw before and after: twelve styles, two rows each."""
    rows = [np.concatenate([*trained, *np.full((12 - len(trained), 128, 128, 3), 255, np.uint8)], axis=1)]
    for images in (before, after):
        rows += [np.concatenate(list(images[place::IMAGES]), axis=1) for place in (0, 1)]
    gap = np.full((12, rows[0].shape[1], 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([rows[0], gap, *rows[1:3], gap, *rows[3:]]))


def settings_for(images: Path, **changes: Any) -> LoraSettings:
    """The training of the documents: class images of the known subjects, the class itself too, as prior."""
    pairs = training_pairs()
    order = np.random.default_rng(3).permutation(len(pairs))[:CLASS_IMAGES]
    defaults: dict[str, Any] = {
        "subject": NAME, "images": images, "base": "embedded", "prompt": "a photo of {subject}",
        "class_prompts": tuple(canonical(*pairs[row]) for row in order), "class_images": CLASS_IMAGES,
        "rank": 16, "layers": "all", "steps": 600, "batch": 4, "rate": 1e-3, "checkpoint_every": 200,
    }  # fmt: skip
    return LoraSettings(**{**defaults, **changes})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="working folder; the judge is kept there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the training")
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    judge, judge_figures = fitted_judge()
    print("judge", json.dumps(judge_figures))
    write_newcomer(work / "pictures", 9901)
    changes = {name: json.loads(value) for name, value in (one.split("=", 1) for one in arguments.set)}
    settings = settings_for(work / "pictures", **changes)
    facts = model_facts("embedded")
    found = read_pictures(settings.images, settings.side(facts))
    before, images_before = measured(judge, None)
    print("before", json.dumps(before))
    begun = perf_counter()
    done = train_lora(settings, facts, found, work / "lora", device="cpu", restart=True)
    seconds = perf_counter() - begun
    after, images_after = measured(judge, done.result.file)
    print("after", json.dumps(after))
    sheet = contact_sheet(np.stack([one.pixels for one in found.pictures]), images_before, images_after)
    sheet.save(arguments.sheet or work / "sheet.png")
    report = {
        "machine": machine(), "date": today(), "threads": torch.get_num_threads(), "settings": settings.told(),
        "seconds": seconds, "lora_bytes": done.result.file.stat().st_size, "loss": done.loss,
        "judge": judge_figures, "before": before, "after": after,
    }  # fmt: skip
    print(json.dumps({key: report[key] for key in ("seconds", "lora_bytes", "loss")}))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
