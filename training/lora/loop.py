"""Training: class images first, then step by step, with checkpoints and sample images on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

import numpy as np
import torch

from nonesuch.foundation.files import atomic_write
from nonesuch.foundation.images import RGB, decode_rgb, read_limited
from nonesuch.generators.backends import open_backend
from nonesuch.generators.backends.pipelines import best_device
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe
from nonesuch.training.lora.base_model import Condition, Parts
from nonesuch.training.lora.checkpoint import State, load_state, save_state
from nonesuch.training.lora.lora_settings import LoraSettings
from nonesuch.training.lora.result import LoraResult, png, write_loss_plot, write_result
from nonesuch.training.lora.training_images import Found

CLASS_FOLDER: Final = "class"  # images that the base drew of the class
SAMPLES_FOLDER: Final = "samples"  # one strip for each checkpoint
_CLASS_SEED: Final = 1_000_000  # class images and samples start from other noise
_BETAS: Final = (0.9, 0.999)
_DECAY: Final = 1e-2


class TrainingWatcher(Protocol):
    """Something that wants to hear of a training's progress."""

    def advanced(self, what: str, done: int, total: int, loss: float | None) -> None:
        """`what` is "class images" or "steps"; `loss` is a moving mean of the subject's."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training."""

    result: LoraResult
    steps: int  # in all
    resumed_at: int  # the step that this run began with
    seconds: float  # of this run
    loss: float  # mean over the last tenth of the steps


def train_lora(
    settings: LoraSettings,
    facts: ModelFacts,
    found: Found,
    out: Path,
    *,
    watcher: TrainingWatcher | None = None,
    device: str | None = None,
    network: bool = False,
    restart: bool = False,
) -> Trained:
    """Train a LoRA into the folder `out`; continues from the checkpoint there.

    On one machine and device, a training that was stopped at any point and started again gives the same
    file as one that was not. Raises InputError as load_state does, DrawingError when the base can't be
    loaded, StorageError for a full disk.
    """
    begun, device = monotonic(), device or best_device()
    digest = settings.digest(facts.digest, found.digests)
    state = None if restart else load_state(out, digest)
    class_images = _class_images(settings, facts, out, digest, device, network, watcher)
    parts = Parts(facts, settings, device, network=network)
    data = _Data(parts, settings, found, class_images)
    trainer = _Trainer(parts, settings, data, digest)
    if state is not None:
        trainer.restore(state)
    resumed_at = trainer.step
    while trainer.step < settings.steps:
        trainer.train_step()
        if watcher is not None:
            watcher.advanced("steps", trainer.step, settings.steps, trainer.recent_loss())
        if trainer.step % settings.checkpoint_every == 0 or trainer.step == settings.steps:
            save_state(out, trainer.state())
            write_loss_plot(out, trainer.losses, trainer.prior_losses)
            _draw_samples(parts, settings, facts, out, trainer.step)
    result = write_result(out, parts.lora(), settings, facts, found, trainer.step)
    tail = trainer.losses[-max(1, len(trainer.losses) // 10) :]
    return Trained(result, trainer.step, resumed_at, monotonic() - begun, float(np.mean(tail)))


class _Data:
    """Latents and conditions that do not change while the UNet is trained."""

    def __init__(
        self, parts: Parts, settings: LoraSettings, found: Found, class_images: Sequence[tuple[str, RGB]]
    ) -> None:
        self.latents = parts.latents([one.pixels for one in found.pictures], flip=settings.flip)
        words = [
            (one.caption or settings.prompt).replace("{subject}", settings.subject) for one in found.pictures
        ]
        self.captions = words * (2 if settings.flip else 1)
        self.class_latents = (
            parts.latents([picture for _, picture in class_images], flip=False) if class_images else None
        )
        self.class_captions = [prompt for prompt, _ in class_images]
        self._parts, self._text_trained = parts, settings.text_encoder
        with parts.base():
            self._known = {
                prompt: parts.conditions([prompt])
                for prompt in dict.fromkeys([*self.captions, *self.class_captions])
            }

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """What the prompts condition now."""
        return self._parts.conditions(prompts) if self._text_trained else self.base_conditions(prompts)

    def base_conditions(self, prompts: Sequence[str]) -> Condition:
        """What they conditioned before the training."""
        chosen = [self._known[prompt] for prompt in prompts]
        return {name: torch.cat([one[name] for one in chosen]) for name in chosen[0]}


class _Trainer:
    def __init__(self, parts: Parts, settings: LoraSettings, data: _Data, digest: str) -> None:
        self._parts, self._settings, self._data, self._digest = parts, settings, data, digest
        self._weights = parts.weights()
        unet = [weight for name, weight in self._weights.items() if name.startswith("unet.")]
        text = [weight for name, weight in self._weights.items() if not name.startswith("unet.")]
        groups = [{"params": unet, "lr": settings.rate}]
        if text:
            groups.append({"params": text, "lr": settings.text_rate})
        self._rates = [settings.rate, settings.text_rate]
        self._optimizer = torch.optim.AdamW(groups, betas=_BETAS, weight_decay=_DECAY)
        self.step = 0
        self.losses: list[float] = []
        self.prior_losses: list[float] = []

    def train_step(self) -> None:
        """One step: its images, noise and noise levels are drawn from its own generator."""
        settings, data = self._settings, self._data
        generator = torch.Generator().manual_seed((settings.seed << 32) + self.step)
        mine = _chosen(len(data.latents), settings.batch, settings.seed, self.step)
        latents, captions = data.latents[mine], [data.captions[row] for row in mine]
        base_conditions = None
        if data.class_latents is not None:
            prior = _chosen(len(data.class_latents), settings.batch, settings.seed + 1, self.step)
            latents = torch.cat([latents, data.class_latents[prior]])
            class_captions = [data.class_captions[row] for row in prior]
            captions += class_captions
            if settings.prior == "base":
                base_conditions = data.base_conditions(class_captions)
        errors = self._parts.loss(latents, data.conditions(captions), generator, base_conditions)
        subject, kept = errors[: len(mine)].mean(), errors[len(mine) :]
        loss = subject if not len(kept) else subject + settings.prior_weight * kept.mean()
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup))
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=False):
            group["lr"] = rate * warm
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(self._weights.values()), 1.0)
        self._optimizer.step()
        self.step += 1
        self.losses.append(subject.item())
        self.prior_losses.append(kept.mean().item() if len(kept) else 0.0)

    def recent_loss(self) -> float:
        """Mean of the last fifty losses."""
        return float(np.mean(self.losses[-50:]))

    def state(self) -> State:
        moments: dict[str, torch.Tensor] = {}
        for name, weight in self._weights.items():
            held = self._optimizer.state[weight]
            moments |= {f"m1.{name}": held["exp_avg"], f"m2.{name}": held["exp_avg_sq"]}
        return State(
            self.step,
            self._digest,
            tuple(self.losses),
            tuple(self.prior_losses),
            dict(self._weights),
            moments,
        )

    def restore(self, state: State) -> None:
        self._parts.restore(state.weights)
        for name, weight in self._weights.items():
            self._optimizer.state[weight] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": state.moments[f"m1.{name}"].to(weight.device),
                "exp_avg_sq": state.moments[f"m2.{name}"].to(weight.device),
            }
        self.step = state.step
        self.losses, self.prior_losses = list(state.losses), list(state.prior_losses)


def _chosen(count: int, size: int, seed: int, step: int) -> list[int]:
    """The rows of a step: every row once in each round, in an order of the round's own."""
    rows = []
    for place in range(step * size, (step + 1) * size):
        order = np.random.default_rng([seed, place // count]).permutation(count)
        rows.append(int(order[place % count]))
    return rows


def _class_images(
    settings: LoraSettings, facts: ModelFacts, out: Path, digest: str, device: str, network: bool,
    watcher: TrainingWatcher | None,
) -> list[tuple[str, RGB]]:  # fmt: skip
    """What the base itself draws of the class prompts, kept as PNG; those that are there are not drawn again."""
    if not settings.class_prompts or settings.prior == "none" or not settings.prior_weight:
        return []
    side, defaults = settings.side(facts), facts.defaults
    recipes = [
        Recipe(
            backend=facts.backend, model=facts.model, model_digest=facts.digest,
            prompt=settings.class_prompts[index % len(settings.class_prompts)], negative_prompt="",
            seed=settings.seed + _CLASS_SEED + index, width=side, height=side, steps=defaults.steps,
            guidance_scale=defaults.guidance_scale, scheduler=defaults.scheduler, dtype=defaults.dtype,
        )
        for index in range(settings.class_images)
    ]  # fmt: skip
    paths = {recipe.id: out / CLASS_FOLDER / f"{recipe.id[:16]}.png" for recipe in recipes}
    missing = [recipe for recipe in recipes if not paths[recipe.id].is_file()]
    if missing:
        backend = open_backend(facts, device=device, network=network)
        for done, drawing in enumerate(backend.draw(missing), 1 + len(recipes) - len(missing)):
            if drawing.image is not None:
                atomic_write(paths[drawing.recipe.id], png(drawing.image))
            if watcher is not None:
                watcher.advanced("class images", done, len(recipes), None)
        backend.close()
    return [
        (recipe.prompt, decode_rgb(read_limited(path), where=str(path)))
        for recipe in recipes
        if (path := paths[recipe.id]).is_file()
    ]


@torch.no_grad()
def _draw_samples(parts: Parts, settings: LoraSettings, facts: ModelFacts, out: Path, step: int) -> None:
    """A strip for each sample prompt, always of the same seeds; the noise of training is not touched."""
    pipe, defaults, rows = parts.pipe, facts.defaults, []
    for prompt in settings.sample_prompts:
        seeds = range(settings.seed, settings.seed + settings.sample_seeds)
        drawn = pipe(
            [prompt] * len(seeds), width=parts.side, height=parts.side, num_inference_steps=defaults.steps,
            guidance_scale=defaults.guidance_scale, output_type="np",
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        ).images  # fmt: skip
        rows.append(np.concatenate(list((np.nan_to_num(drawn) * 255).round().astype(np.uint8)), axis=1))
    atomic_write(out / SAMPLES_FOLDER / f"step-{step:06d}.png", png(np.concatenate(rows)))
