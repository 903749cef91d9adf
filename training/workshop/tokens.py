"""The project's own byte-level BPE, saved as an ordinary CLIPTokenizer folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from nonesuch.training.workshop.world.damage import WORDS
from nonesuch.training.workshop.world.pairs import training_pairs
from nonesuch.training.workshop.world.wordings import (
    caption,
    damaged_caption,
    quality_caption,
    style_caption,
    subject_caption,
)

CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"

# Common prompt words the drawn captions lack; they keep free prompts short in tokens.
_EXTRA = (
    "the with and in on at from near under over into her his their very old young big little red blue "
    "green yellow orange purple pink black white grey gold silver dark bright light night day sky sea "
    "mountain river forest city street garden flower bird man woman child girl boy king queen space "
    "moon star sun winter summer autumn spring snow rain fire water wood stone glass metal oil canvas "
    "ink chalk digital art concept illustration cartoon realistic abstract minimal vintage modern "
    "cinematic lighting portrait landscape close up wide shot studio ugly bad worst deformed text watermark"
)


def corpus(seed: int) -> list[str]:
    """Captions of every kind, in a fixed order, to train the tokenizer on."""
    rng = np.random.default_rng(seed)
    lines: list[str] = [_EXTRA] * 20
    for subject, style in training_pairs():
        lines += [caption(subject, style, rng) for _ in range(20)]
        lines += [subject_caption(subject, rng), style_caption(style, rng)]
        for kind in WORDS:
            lines += [damaged_caption(subject, style, kind, rng), quality_caption(kind, rng)]
    return lines


def train_tokenizer(folder: Path, vocabulary: int, seed: int) -> CLIPTokenizer:
    """Train the BPE and write a CLIPTokenizer folder.

    ``<|endoftext|>`` gets the highest id (open_clip pools at the largest id) and pads.
    """
    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2 - len(alphabet),
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    # Every byte must also exist as a word's last symbol, or rare words would be lost.
    pieces += [byte + "</w>" for byte in sorted(alphabet) if byte + "</w>" not in model["vocab"]]
    vocab = {piece: index for index, piece in enumerate([*pieces, START, END])}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(m) for m in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
    )
    made.save_pretrained(folder)
    return made
