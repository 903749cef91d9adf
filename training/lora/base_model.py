"""The base model's parts as training uses them: latents of images, what a prompt conditions, low-rank additions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends.pipelines import load_pipeline, real_dtype
from nonesuch.generators.models import ModelFacts
from nonesuch.training.lora.lora_settings import ATTENTION, EVERYTHING, TEXT_LAYERS, LoraSettings

Condition = dict[str, torch.Tensor]  # text [n, tokens, width]; with SDXL pooled [n, width] too


class Parts:
    """A base pipeline with LoRA layers added, and everything but these frozen."""

    def __init__(self, facts: ModelFacts, settings: LoraSettings, device: str, *, network: bool) -> None:
        self.device = device
        dtype = real_dtype("auto", device)
        self.pipe: Any = load_pipeline(facts, device=device, dtype=dtype, network=network)
        self._mixed = dtype != torch.float32
        self._settings = settings
        self.side = settings.side(facts)
        config = self.pipe.scheduler.config
        try:
            self.noise = DDPMScheduler.from_config(config)
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"its noise can't be trained with ({error})", where=facts.model) from error
        if self.noise.config.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise InputError(f"it predicts {self.noise.config.prediction_type}", where=facts.model)
        self._encoders = {
            name: encoder
            for name in ("text_encoder", "text_encoder_2")
            if (encoder := getattr(self.pipe, name, None)) is not None
        }
        for part in (self.pipe.unet, self.pipe.vae, *self._encoders.values()):
            part.requires_grad_(False)
        torch.manual_seed(settings.seed)  # the additions start from noise
        targets = ATTENTION if settings.layers == "attention" else EVERYTHING
        self.pipe.unet.add_adapter(_config(settings.rank, targets))
        if settings.text_encoder:
            for encoder in self._encoders.values():
                encoder.add_adapter(_config(settings.rank, TEXT_LAYERS))
        for part in self._trained().values():
            for weight in part.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
        if device.startswith("cuda"):
            self.pipe.unet.enable_gradient_checkpointing()

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """Every trained parameter by name, in a fixed order."""
        return {
            f"{part}.{name}": weight
            for part, module in self._trained().items()
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    def lora(self) -> dict[str, torch.Tensor]:
        """The LoRA in diffusers' format."""
        found = {}
        for part, module in self._trained().items():
            for name, value in convert_state_dict_to_diffusers(get_peft_model_state_dict(module)).items():
                found[f"{part}.{name}"] = value.detach().float().cpu().contiguous()
        return found

    @torch.no_grad()
    def latents(self, pictures: Sequence[RGB], *, flip: bool) -> torch.Tensor:
        """Latents float32 [n or 2n, C, h, w], scaled as the UNet takes them; with `flip` the mirrored ones follow."""
        rows = []
        for mirrored in (False, True) if flip else (False,):
            for picture in pictures:
                pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
                pixels = pixels.flip(3) if mirrored else pixels
                vae = self.pipe.vae
                if vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False):
                    vae.to(dtype=torch.float32)  # SDXL's overflows in half precision
                encoded = vae.encode(pixels.to(self.device, vae.dtype)).latent_dist.mean.float()
                shift = getattr(vae.config, "shift_factor", None) or 0.0
                rows.append(((encoded - shift) * vae.config.scaling_factor).cpu())
        return torch.cat(rows)

    @contextmanager
    def base(self) -> Iterator[None]:
        """The model as it was before the training, while the block lasts; nothing is learnt in it."""
        parts = list(self._trained().values())
        for part in parts:
            part.disable_adapters()
        try:
            with torch.no_grad():
                yield
        finally:
            for part in parts:
                part.enable_adapters()

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """What the prompts condition, as the pipeline itself encodes them; keeps gradients of trained encoders."""
        with self._autocast():
            encoded = self.pipe.encode_prompt(
                prompt=list(prompts),
                device=self.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
            )
        found: Condition = {"text": encoded[0]}
        if len(self._encoders) == 2:
            found["pooled"] = encoded[2]
        return found

    def loss(
        self,
        latents: torch.Tensor,
        condition: Mapping[str, torch.Tensor],
        generator: torch.Generator,
        kept: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Mean squared error of each image, float32 [n], at random noise levels drawn from `generator`.

        DDPM's objective (Ho et al. 2020, eq. 14) or its v-prediction form (Salimans & Ho 2022), as the base was trained.
        The last images, as many as `kept` conditions the base with, are held to what the base says instead.
        """
        clean = latents.to(self.device)
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        steps = self.noise.config.num_train_timesteps
        times = torch.randint(0, steps, (len(clean),), generator=generator).to(self.device)
        noisy = self.noise.add_noise(clean, noise, times)
        kind = self.noise.config.prediction_type
        if kind == "epsilon":
            target = noise
        elif kind == "sample":
            target = clean
        else:
            target = self.noise.get_velocity(clean, noise, times)
        if kept is not None:
            first = len(clean) - len(kept["text"])
            with self.base():
                target = torch.cat([target[:first], self._guess(noisy[first:], times[first:], kept)])
        errors: torch.Tensor = (self._guess(noisy, times, condition) - target).square().mean(dim=(1, 2, 3))
        return errors

    def _guess(
        self, noisy: torch.Tensor, times: torch.Tensor, condition: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """What the UNet predicts, float32 in the shape of `noisy`."""
        added = None
        if "pooled" in condition:
            ids = torch.tensor([[self.side, self.side, 0, 0, self.side, self.side]], dtype=torch.float32)
            added = {
                "text_embeds": condition["pooled"],
                "time_ids": ids.repeat(len(noisy), 1).to(self.device),
            }
        with self._autocast():
            guess: torch.Tensor = self.pipe.unet(
                noisy, times, condition["text"], added_cond_kwargs=added
            ).sample
        return guess.float()

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put back what `weights` returned."""
        own = self.weights()
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    def _trained(self) -> dict[str, Any]:
        encoders = self._encoders if self._settings.text_encoder else {}
        return {"unet": self.pipe.unet, **encoders}

    def _autocast(self) -> Any:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self._mixed)


def _config(rank: int, targets: Sequence[str]) -> LoraConfig:
    # the scale of a LoRA is alpha / rank; one that says no alpha is read as 1 everywhere
    return LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(targets))
