"""Embeddings of prompts longer than CLIP's 77 tokens and of weighted words, for pipelines with CLIP text encoders.

The a1111 way: the prompt is cut into chunks of 75 tokens, each encoded alone; every token's vector is multiplied by
its weight, and each chunk is scaled so that its mean is what it was. compel's way differs in the last two: it moves
each weighted token along the line from the empty prompt's vector (w·z + (1-w)·empty), and for weights below 1 towards
the prompt without that word; it scales nothing afterwards. compel also cuts long prompts at the ends of sentences. Short prompts without weights come out equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from nonesuch.foundation.errors import DependencyError, InputError
from nonesuch.generators.prompt_syntax import BACKTRACK, CHUNK, parse_weights

_KNOWN: Final = ("StableDiffusion", "StableDiffusionXL")  # what pipelines' class names begin with


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most 75 tokens of a prompt with their weights."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...]


def weighted_embeddings(
    pipe: Any, prompt: str, negative: str, *, syntax: str, guided: bool, clip_skip: int | None
) -> dict[str, Any]:
    """The arguments of a pipeline's __call__ that stand for a prompt and its negative, of equal length.

    Raises InputError for a pipeline without CLIP text encoders and for a prompt that can't be parsed, DependencyError
    when compel is asked for and not installed.
    """
    if not _is_clip(pipe):
        raise InputError(
            f"{type(pipe).__name__} has no CLIP text encoders for {syntax} prompts",
            where="prompt_syntax",
            hint="Use prompt_syntax: plain.",
        )
    with torch.inference_mode():
        if syntax == "compel":
            return _compel(pipe, prompt, negative, guided)
        return _a1111(pipe, prompt, negative, guided, clip_skip)


def cut_chunks(tokenizer: Any, prompt: str) -> list[Chunk]:
    """A prompt's chunks: a new one at each BREAK and after 75 tokens, or after a comma shortly before."""
    comma = tokenizer.convert_tokens_to_ids(",</w>")
    chunks: list[Chunk] = []
    tokens: list[int] = []
    weights: list[float] = []
    last_comma = -1

    def end() -> None:
        nonlocal tokens, weights, last_comma
        chunks.append(Chunk(tuple(tokens), tuple(weights)))
        tokens, weights, last_comma = [], [], -1

    for piece in parse_weights(prompt):
        if piece.ends_chunk:
            end()
            continue
        for token in tokenizer(piece.text, truncation=False, add_special_tokens=False).input_ids:
            if (
                token != comma
                and len(tokens) == CHUNK
                and last_comma >= 0
                and CHUNK - last_comma <= BACKTRACK
            ):
                kept, moved = last_comma + 1, (tokens[last_comma + 1 :], weights[last_comma + 1 :])
                tokens, weights = tokens[:kept], weights[:kept]
                end()
                tokens, weights = moved
            if len(tokens) == CHUNK:
                end()
            if token == comma:
                last_comma = len(tokens)
            tokens.append(token)
            weights.append(piece.weight)
    if tokens or not chunks:
        end()
    return chunks


def _a1111(pipe: Any, prompt: str, negative: str, guided: bool, clip_skip: int | None) -> dict[str, Any]:
    encoders = _encoders(pipe)
    positive = [_encoded(pipe, *one, prompt, clip_skip) for one in encoders]
    against = [_encoded(pipe, *one, negative, clip_skip) for one in encoders] if guided else []
    count = max(len(chunks) for chunks, _ in (*positive, *against))
    empty = [_encoded(pipe, *one, "", clip_skip)[0] for one in encoders]
    found = {"prompt_embeds": _laid_out(positive, empty, count)}
    zeros = not negative and getattr(pipe.config, "force_zeros_for_empty_prompt", False)
    if guided:
        laid = _laid_out(against, empty, count)
        found["negative_prompt_embeds"] = torch.zeros_like(laid) if zeros else laid
    if len(encoders) == 2 or pipe.text_encoder is None:
        found["pooled_prompt_embeds"] = positive[-1][1]
        if guided:
            pooled = against[-1][1]
            found["negative_pooled_prompt_embeds"] = torch.zeros_like(pooled) if zeros else pooled
    return found


def _laid_out(
    encoded: Sequence[tuple[torch.Tensor, Any]], empty: Sequence[torch.Tensor], count: int
) -> torch.Tensor:
    """[1, 77 × count, width of all encoders]; missing chunks are those of the empty prompt."""
    columns = []
    for (chunks, _), blank in zip(encoded, empty, strict=True):
        filled = torch.cat([chunks, blank.expand(count - len(chunks), -1, -1)])
        columns.append(filled.reshape(1, -1, filled.shape[-1]))
    return torch.cat(columns, dim=-1)


def _encoded(
    pipe: Any, tokenizer: Any, encoder: Any, prompt: str, clip_skip: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted vectors [chunks, 77, width], and the first chunk's pooled vector [1, width]."""
    chunks = cut_chunks(tokenizer, prompt)
    begin, finish, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    rows = [[begin, *chunk.tokens, finish, *[pad] * (CHUNK - len(chunk.tokens))] for chunk in chunks]
    result = encoder(torch.tensor(rows, device=encoder.device), output_hidden_states=True)
    vectors, dtype = _layer(pipe, encoder, result, clip_skip), encoder.dtype
    weights = torch.tensor(
        [[1.0, *chunk.weights, *[1.0] * (76 - len(chunk.weights))] for chunk in chunks], device=vectors.device
    )
    vectors = vectors.float()
    if bool((weights != 1).any()):
        before = vectors.mean(dim=(1, 2), keepdim=True)
        weighted = vectors * weights[..., None]
        scaled = weighted * (before / weighted.mean(dim=(1, 2), keepdim=True))
        vectors = torch.where((weights != 1).any(1)[:, None, None], scaled, vectors)
    return vectors.to(dtype), result[0][:1]


def _layer(pipe: Any, encoder: Any, result: Any, clip_skip: int | None) -> torch.Tensor:
    """The vectors that the pipeline's own encode_prompt takes, `clip_skip` layers before its usual ones."""
    if _is_xl(pipe):
        hidden: torch.Tensor = result.hidden_states[-2 - (clip_skip or 0)]
        return hidden
    if not clip_skip:
        last: torch.Tensor = result.last_hidden_state
        return last
    tower = getattr(encoder, "text_model", encoder)
    skipped: torch.Tensor = tower.final_layer_norm(result.hidden_states[-1 - clip_skip])
    return skipped


def _compel(pipe: Any, prompt: str, negative: str, guided: bool) -> dict[str, Any]:
    try:
        from compel import CompelForSD, CompelForSDXL
    except ImportError as error:
        raise DependencyError(
            "compel is not installed", where="prompt_syntax", hint="pip install 'nonesuch[compel]'"
        ) from error
    reader = (CompelForSDXL if _is_xl(pipe) else CompelForSD)(pipe, device=str(pipe.device))
    try:
        read = reader(prompt, negative_prompt=negative)
    except Exception as error:  # compel's grammar raises pyparsing's errors, which are many
        raise InputError(f"compel can't read it ({error})", where="prompt") from error
    found: Mapping[str, Any] = {
        "prompt_embeds": read.embeds,
        "negative_prompt_embeds": read.negative_embeds if guided else None,
        "pooled_prompt_embeds": read.pooled_embeds,
        "negative_pooled_prompt_embeds": read.negative_pooled_embeds if guided else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _encoders(pipe: Any) -> list[tuple[Any, Any]]:
    pairs = [
        (pipe.tokenizer, pipe.text_encoder),
        (getattr(pipe, "tokenizer_2", None), getattr(pipe, "text_encoder_2", None)),
    ]
    return [(tokenizer, encoder) for tokenizer, encoder in pairs if encoder is not None]


def _is_xl(pipe: Any) -> bool:
    return type(pipe).__name__.startswith("StableDiffusionXL")


def _is_clip(pipe: Any) -> bool:
    name = type(pipe).__name__
    return name.startswith(_KNOWN) and not name.startswith("StableDiffusion3")
