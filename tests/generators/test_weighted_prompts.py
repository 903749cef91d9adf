"""Embeddings of long and weighted prompts, held against compel's and the pipeline's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from compel import Compel, CompelForSD, CompelForSDXL, ReturnedEmbeddingsType, SplitLongTextMode

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.weighted_prompts import cut_chunks, weighted_embeddings

pytestmark = pytest.mark.slow
LONG = " ".join(["a fox and a cat in the snow"] * 12)


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def pipe(request: pytest.FixtureRequest, pipelines: Callable[[str], Path]) -> Any:
    loaded = diffusers.DiffusionPipeline.from_pretrained(pipelines(request.param))
    loaded.set_progress_bar_config(disable=True)
    return loaded


def a1111(pipe: Any, prompt: str, negative: str = "", clip_skip: int | None = None) -> dict[str, Any]:
    return weighted_embeddings(pipe, prompt, negative, syntax="a1111", guided=True, clip_skip=clip_skip)


def compel(pipe: Any, prompt: str) -> Any:
    with torch.inference_mode():
        reader = (CompelForSDXL if "XL" in type(pipe).__name__ else CompelForSD)(pipe, device="cpu")
        return reader(prompt, negative_prompt="")


def own(pipe: Any, prompt: str) -> torch.Tensor:
    with torch.inference_mode():
        return pipe.encode_prompt(
            prompt=prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )[0]  # type: ignore[no-any-return]


def test_a_short_plain_prompt_is_the_pipelines_own(pipe: Any) -> None:
    assert torch.allclose(a1111(pipe, "a fox")["prompt_embeds"], own(pipe, "a fox"), atol=1e-5)


def test_clip_skip_takes_an_earlier_layer(pipe: Any) -> None:
    found = a1111(pipe, "a fox", clip_skip=1)["prompt_embeds"]
    assert found.shape == own(pipe, "a fox").shape
    assert not torch.allclose(found, own(pipe, "a fox"), atol=1e-3)


def test_long_prompts_are_compels(pipe: Any) -> None:
    """By default compel cuts at the ends of sentences; told not to, it is the same."""
    ours = a1111(pipe, LONG)["prompt_embeds"]
    assert ours.shape[1] > 77
    xl = "XL" in type(pipe).__name__
    kind = ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED if xl else None
    pairs = [(pipe.tokenizer, pipe.text_encoder), *([(pipe.tokenizer_2, pipe.text_encoder_2)] if xl else [])]
    with torch.inference_mode():
        columns = [
            Compel(
                tokenizer=tokenizer, text_encoder=encoder, truncate_long_prompts=False, device="cpu",
                split_long_text_mode=SplitLongTextMode.BRUTAL, **({"returned_embeddings_type": kind} if kind else {}),
            )(LONG)
            for tokenizer, encoder in pairs
        ]  # fmt: skip
    assert torch.allclose(ours, torch.cat(columns, dim=-1), atol=1e-5)


def test_weights_go_to_compels_tokens_and_the_rest_differs_as_documented(pipe: Any) -> None:
    """ours = w·z scaled to the chunk's mean; compel's = w·z + (1-w)·empty."""
    weighted = a1111(pipe, "a (fox:1.5) in snow")["prompt_embeds"]
    plain, empty = a1111(pipe, "a fox in snow")["prompt_embeds"], a1111(pipe, "")["prompt_embeds"]
    theirs = compel(pipe, "a (fox)1.5 in snow").embeds
    tokens = cut_chunks(pipe.tokenizer, "a (fox:1.5) in snow")[0]
    weights = torch.ones(1, 77, 1)
    weights[0, 1 : 1 + len(tokens.weights), 0] = torch.tensor(tokens.weights)
    assert 1.5 in tokens.weights
    assert torch.allclose(theirs, weights * plain + (1 - weights) * empty, atol=1e-5)
    # each encoder's columns are scaled by themselves
    width = pipe.text_encoder.config.hidden_size
    for columns in (slice(0, width), slice(width, None)):
        if plain[..., columns].numel():
            product = (weights * plain)[..., columns]
            scaled = product * (plain[..., columns].mean() / product.mean())
            assert torch.allclose(weighted[..., columns], scaled, rtol=1e-3, atol=1e-4)


def test_prompt_and_negative_have_one_length(pipe: Any) -> None:
    found = a1111(pipe, "a fox", LONG)
    assert found["prompt_embeds"].shape == found["negative_prompt_embeds"].shape
    padded = found["prompt_embeds"][:, 77:154]
    assert torch.allclose(padded, a1111(pipe, "")["prompt_embeds"], atol=1e-6)


def test_break_and_commas_cut_chunks(pipe: Any) -> None:
    assert [len(chunk.tokens) for chunk in cut_chunks(pipe.tokenizer, "ab BREAK cd")] == [2, 2]
    # the tiny tokenizer makes a token of each letter: a comma at place 70, and letters past the chunk's end
    prompt = "a" * 70 + "," + "b" * 20
    first, second = cut_chunks(pipe.tokenizer, prompt)
    assert (len(first.tokens), len(second.tokens)) == (71, 20)
    early = cut_chunks(pipe.tokenizer, "a" * 40 + "," + "b" * 60)
    assert [len(chunk.tokens) for chunk in early] == [75, 26]


def test_a_pipeline_without_clip_is_refused(pipelines: Callable[[str], Path]) -> None:
    pixart = diffusers.DiffusionPipeline.from_pretrained(pipelines("pixart"))
    with pytest.raises(InputError, match="no CLIP"):
        a1111(pixart, "a (fox:1.2)")
