"""Prompt embeddings: each distinct prompt encoded once, for any pipeline, by the names in its own signatures.

What a pipeline's `encode_prompt` returns is matched to the arguments of its `__call__` by name: the
names stand in the method's return statement (`return prompt_embeds, pooled_prompt_embeds`).
Pipelines without such a method get their prompts as text.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

from nonesuch.generators.backends.pipelines import is_out_of_memory
from nonesuch.generators.backends.weighted_prompts import weighted_embeddings

CACHED: Final = 256  # prompts whose embeddings stay on the device; 2 MB each for the largest encoders

Embeddings = Mapping[str, Any]  # argument of __call__ → tensor [1, …], or list of one tensor


class PromptEncoder:
    """Encodes prompts with one pipeline and remembers the last ones."""

    def __init__(self, pipe: Any, device: str) -> None:
        self._pipe = pipe
        self._device = device
        self._call = inspect.signature(pipe.__call__).parameters
        method = getattr(type(pipe), "encode_prompt", None)
        self._returned = returned_names(method) if method else ()
        self._parameters = inspect.signature(method).parameters if method else {}
        self._cache: OrderedDict[tuple[Any, ...], Embeddings] = OrderedDict()
        self.encodes = "prompt_embeds" in self._returned and "prompt_embeds" in self._call

    def embeddings(
        self,
        prompt: str,
        negative: str,
        *,
        guided: bool,
        options: Mapping[str, Any],
        syntax: str | None = None,
    ) -> Embeddings | None:
        """The arguments that stand for a prompt and its negative; None when they must go in as text.

        `syntax` reads weights as weighted_prompts does, and raises what that raises.
        """
        if not self.encodes and syntax is None:
            return None
        shared = {name: value for name, value in options.items() if name in self._parameters}
        key = (prompt, negative, guided, syntax, *sorted(shared.items()))
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        if syntax is not None:
            skip = shared.get("clip_skip")
            return self._kept(
                key,
                weighted_embeddings(
                    self._pipe, prompt, negative, syntax=syntax, guided=guided, clip_skip=skip
                ),
            )
        try:
            encoded = self._encode(prompt, negative, guided, shared)
        except Exception as error:  # a pipeline whose method wants more than its signature says
            if is_out_of_memory(error):
                raise
            self.encodes = False
            return None
        return self._kept(key, encoded)

    def _kept(self, key: tuple[Any, ...], encoded: Embeddings) -> Embeddings:
        self._cache[key] = encoded
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return encoded

    def forget(self) -> None:
        """Drop what is remembered, because the text encoders have changed."""
        self._cache.clear()

    def _encode(self, prompt: str, negative: str, guided: bool, shared: Mapping[str, Any]) -> Embeddings:
        takes_negative = "negative_prompt" in self._parameters
        found = self._run(prompt, negative if takes_negative else "", guided, shared)
        if negative and not takes_negative:
            against = self._run(negative, "", guided, shared)
            found |= {f"negative_{name}": value for name, value in against.items()}
        return {name: value for name, value in found.items() if name in self._call and value is not None}

    def _run(self, prompt: str, negative: str, guided: bool, shared: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            # prompt_2 and the like, where they are asked for, default to the prompt itself.
            name: None
            for name, parameter in self._parameters.items()
            if name.startswith("prompt_") and parameter.default is parameter.empty
        }
        arguments |= {
            "prompt": prompt,
            "device": self._device,
            "num_images_per_prompt": 1,
            "do_classifier_free_guidance": guided,
            **shared,
        }
        if negative:
            arguments["negative_prompt"] = negative
        with torch.inference_mode():
            result = self._pipe.encode_prompt(
                **{name: value for name, value in arguments.items() if name in self._parameters}
            )
        parts = result if isinstance(result, tuple) else (result,)
        return dict(zip(self._returned, parts, strict=True))


def returned_names(method: Callable[..., Any]) -> tuple[str, ...]:
    """The variables in a function's last return statement; () when there is none or it is no plain tuple.

    >>> def encode_prompt():
    ...     return prompt_embeds, pooled_prompt_embeds
    >>> returned_names(encode_prompt)
    ('prompt_embeds', 'pooled_prompt_embeds')
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (OSError, TypeError, SyntaxError):
        return ()
    function = tree.body[0]
    last = function.body[-1] if isinstance(function, ast.FunctionDef) else None
    if not isinstance(last, ast.Return):
        return ()
    parts = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
    names = tuple(part.id for part in parts if isinstance(part, ast.Name))
    return names if len(names) == len(parts) else ()


def shape_of(embeddings: Embeddings | None) -> tuple[Any, ...]:
    """What two prompts' embeddings must share to lie in one batch."""
    if embeddings is None:
        return ()
    return tuple(
        (name, tuple(value.shape[1:]) if isinstance(value, torch.Tensor) else None)
        for name, value in sorted(embeddings.items())
    )


def stacked(many: Sequence[Embeddings]) -> dict[str, Any]:
    """The embeddings of a batch's prompts, one after another, as the pipeline's arguments."""
    return {
        name: torch.cat([one[name] for one in many])
        if isinstance(many[0][name], torch.Tensor)
        else [tensor for one in many for tensor in one[name]]
        for name in many[0]
    }
