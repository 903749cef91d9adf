"""Random prompt parts in dynamicprompts syntax: weighted variants and wildcards from files."""

from __future__ import annotations

import itertools
import logging
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nonesuch.foundation.errors import InputError

TRIES: Final = 100  # draws for each text that is asked for, before the template counts as exhausted
_WILDCARD: Final = re.compile(r"__[\w*./-]+__")


def draw_texts(template: str, count: int, seed: int, wildcards: Path | None, *, where: str) -> list[str]:
    """`count` different texts of a template, in the order in which `seed` draws them.

    The same template, files and seed always give the same texts, and the first texts of a larger
    count are those of a smaller one. Raises InputError for a syntax error, an unknown wildcard, and
    a template with fewer different texts than asked for.
    """
    logging.getLogger("dynamicprompts").setLevel(logging.ERROR)
    texts: dict[str, None] = {}
    for text in itertools.islice(_draws(template, seed, wildcards, where), count * TRIES):
        texts.setdefault(text)
        if len(texts) == count:
            return list(texts)
    raise InputError(
        f"{template!r} gave only {len(texts)} different texts in {count * TRIES:,} draws, not {count}",
        where=where,
        hint=f"Set draws to {len(texts)} or less, or give the template more alternatives.",
    )


def _draws(template: str, seed: int, wildcards: Path | None, where: str) -> Iterator[str]:
    """One endless stream of texts for a seed."""
    from dynamicprompts.enums import SamplingMethod
    from dynamicprompts.sampling_context import SamplingContext
    from dynamicprompts.wildcards import WildcardManager

    context = SamplingContext(
        default_sampling_method=SamplingMethod.RANDOM,
        wildcard_manager=WildcardManager(wildcards),
        ignore_whitespace=True,
        rand=random.Random(seed),
    )
    try:
        for result in context.sample_prompts(template):
            text = str(result).strip()
            if missing := _WILDCARD.search(text):
                raise InputError(
                    f"there are no values for the wildcard {missing[0]}",
                    where=where,
                    hint="Put them in a text file of that name in the folder that `wildcards:` names.",
                )
            yield text
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{template!r} refers to itself without end", where=where) from error
    except Exception as error:  # the library raises pyparsing's and its own kinds without a common root
        reason = " ".join(str(error).split())
        raise InputError(f"{template!r} can't be drawn from ({reason})", where=where) from error
