"""Stage ``clip``: an open_clip model trained on the drawn set and its captions."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from transformers import CLIPTokenizer

from nonesuch.training.workshop.config import Config
from nonesuch.training.workshop.data import Drawn, load_drawn
from nonesuch.training.workshop.learning_rate import Averaged, Clock, log_stage, report, set_rate
from nonesuch.training.workshop.tokens import CONTEXT, train_tokenizer
from nonesuch.training.workshop.world.damage import DAMAGES, damage
from nonesuch.training.workshop.world.pairs import STYLES, SUBJECTS
from nonesuch.training.workshop.world.wordings import (
    caption,
    damaged_caption,
    quality_caption,
    style_caption,
    subject_caption,
)

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_DAMAGED_SHARE = 0.2
_KINDS: Final[tuple[str | None, ...]] = (None, *DAMAGES)


def model_config(config: Config, vocabulary: int) -> dict[str, Any]:
    """The ``open_clip_config.json`` of the model, tokenizer looked for beside it."""
    return {
        "model_cfg": {
            "embed_dim": config.clip_embed,
            "vision_cfg": {
                "image_size": 128,
                "layers": list(config.clip_layers),
                "width": config.clip_width,
                "head_width": 64,
                "patch_size": None,
            },
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": vocabulary,
                "width": config.text_width,
                "heads": config.text_heads,
                "layers": config.text_layers,
                "hf_tokenizer_name": ".",
                "tokenizer_kwargs": {"clean": "whitespace"},
            },
        },
        "preprocess_cfg": {
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


def build_clip(config: Config, folder: Path) -> torch.nn.Module:
    """Write tokenizer and config into ``folder`` and return the untrained model."""
    tokenizer = train_tokenizer(folder, config.vocabulary, config.seed)
    described = model_config(config, len(tokenizer))
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    name = "nonesuch-embedded"
    (folder.parent / "clip-models").mkdir(exist_ok=True)
    named = folder.parent / "clip-models" / f"{name}.json"
    named.write_text(json.dumps(described["model_cfg"]), encoding="utf-8")
    open_clip.add_model_config(named)
    model: torch.nn.Module = open_clip.create_model(name)
    return model


def encode_texts(
    model: Any, tokenizer: CLIPTokenizer, texts: list[str], device: torch.device
) -> torch.Tensor:
    """Normalised text embeddings ``[n, embed]`` of an ``open_clip.CLIP``.

    The tower is causal and pools at the end token, so padding only to the longest
    caption gives the same embeddings as padding to 77, at a quarter of the work.
    """
    tokens = tokenizer(texts, padding="longest", truncation=True, return_tensors="pt").input_ids.to(device)
    length = tokens.shape[1]
    states = model.token_embedding(tokens) + model.positional_embedding[:length]
    states = model.transformer(states, attn_mask=model.attn_mask[:length, :length])
    states = model.ln_final(states)
    pooled: torch.Tensor = states[torch.arange(len(tokens), device=device), tokens.argmax(-1)]
    return F.normalize(pooled @ model.text_projection, dim=-1)


def prepare(pixels: np.ndarray, device: torch.device) -> torch.Tensor:
    """``uint8 [n, 128, 128, 3]`` to the model's input, ``float32 [n, 3, 128, 128]``."""
    tensor = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float()
    return tensor.div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def train_clip(run: Path, config: Config, minutes: float, device: torch.device) -> None:
    """Train with full and partial captions; writes ``run/clip``.

    The loss is the contrastive one of Radford et al. 2021 with every image of the
    same subject, style and condition as a positive (Khosla et al. 2020), plus three
    classifications of the image among captions that name one facet only.
    """
    drawn = load_drawn(run / "drawn")
    torch.manual_seed(config.seed + 1)
    rng = np.random.default_rng(config.seed + 1)
    folder = run / "clip"
    shutil.rmtree(folder, ignore_errors=True)
    # Any: torch types a module's parts as Tensor | Module and lacks this overload of to().
    built: Any = build_clip(config, folder)
    model = built.to(device, memory_format=torch.channels_last).train()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    average = Averaged(model, 0.995)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98))
    clock, step, last, batch = Clock(minutes), 0, time.monotonic(), config.clip_batch
    while clock.share() < 1.0:
        pixels, texts, labels = sample(drawn, batch, rng)
        facets = facet_captions(rng)
        set_rate(optimizer, clock.rate(1.2e-3))
        with torch.autocast(device.type, torch.bfloat16):
            seen = model.encode_image(prepare(pixels, device), normalize=True)
            told = encode_texts(model, tokenizer, texts + facets, device)
        scale = model.logit_scale.exp().float()
        logits = scale * seen.float() @ told.float().T
        loss = _contrast(logits[:, :batch], np.stack(labels, 1))
        extra, hits = facet_loss(logits[:, batch:], labels)
        loss = loss + extra
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(60.0)))
        average.update(model)
        step += 1
        if step % 25 == 0:
            now = time.monotonic()
            report("clip", step, {"loss": loss.item(), **hits}, 25 * batch / (now - last))
            last = now
    torch.save(average.module.state_dict(), folder / "weights.pt")
    log_stage(run, "clip", step, clock.spent())


def sample(
    drawn: Drawn, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    """A random batch, a fifth of it damaged.

    Returns:
        ``uint8 [size, 128, 128, 3]``, one full caption each, and the labels
        (subject, style, condition), each ``int64 [size]``.
    """
    rows = rng.integers(len(drawn.pixels), size=size)
    pixels = np.empty((size, 128, 128, 3), np.uint8)
    texts, quality = [], np.zeros(size, np.int64)
    for at, row in enumerate(rows):
        one = drawn.pixels[row]
        one = one[:, ::-1] if rng.random() < 0.5 else one
        subject, style = SUBJECTS[drawn.subject[row]], STYLES[drawn.style[row]]
        if rng.random() < _DAMAGED_SHARE:
            one, kind = damage(np.ascontiguousarray(one), rng)
            quality[at] = _KINDS.index(kind)
            texts.append(damaged_caption(subject, style, kind, rng))
        else:
            texts.append(caption(subject, style, rng))
        pixels[at] = np.roll(one, rng.integers(-4, 5, 2), (0, 1))
    return pixels, texts, [drawn.subject[rows].astype(np.int64), drawn.style[rows].astype(np.int64), quality]


def facet_captions(rng: np.random.Generator) -> list[str]:
    """One wording of every subject, then of every style, then of every condition."""
    words = [subject_caption(s, rng) for s in SUBJECTS] + [style_caption(t, rng) for t in STYLES]
    return words + [quality_caption(kind, rng) for kind in _KINDS]


def facet_loss(logits: torch.Tensor, labels: list[np.ndarray]) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropies of ``[n, 57]`` logits against ``facet_captions``, and the hit rates."""
    loss = torch.zeros((), device=logits.device)
    hits: dict[str, float] = {}
    sizes = (len(SUBJECTS), len(STYLES), len(_KINDS))
    for name, part, label in zip(
        ("subject", "style", "quality"), logits.split(sizes, 1), labels, strict=True
    ):
        truth = torch.from_numpy(label).to(logits.device)
        loss = loss + F.cross_entropy(part, truth)
        hits[name] = (part.argmax(1) == truth).float().mean().item()
    return loss, hits


def _contrast(logits: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    """Symmetric cross-entropy to targets shared by all equal label rows."""
    known = torch.from_numpy(labels).to(logits.device)
    same = (known[:, None] == known[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    ahead = -(target * logits.log_softmax(1)).sum(1).mean()
    back = -(target * logits.T.log_softmax(1)).sum(1).mean()
    return (ahead + back) / 2
