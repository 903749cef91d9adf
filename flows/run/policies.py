"""Which policies a sweep must meet (its own, the command's, the environment's, this home's), and checking them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from nonesuch.foundation.files import config_dir
from nonesuch.generators.matrix.expansion import Matrix
from nonesuch.generators.prompt_syntax import check_prompt
from nonesuch.generators.sweepfile.policy import check_policy, load_policy

VARIABLE: Final = "NONESUCH_POLICY"  # files, separated as in PATH
HOME_FILE: Final = "policy.yaml"  # in the configuration folder


def check_policies(matrix: Matrix, given: Path | None) -> tuple[str, ...]:
    """Check a sweep against every policy that holds for it; their digests, each once.

    Raises InputError naming the policy's file and line, the sweep and the cell.
    """
    source, named = matrix.sweep.source, matrix.sweep.policy
    paths = [Path(one) for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    home = config_dir() / HOME_FILE
    paths += [home] if home.is_file() else []
    paths += [source.folder / named] if named is not None else []
    paths += [given] if given is not None else []
    digests: dict[str, None] = {}
    for path in dict.fromkeys(path.absolute() for path in paths):
        opened = load_policy(path)
        check_policy(opened, matrix)
        digests[opened.digest] = None
    return tuple(digests)


def check_prompts(matrix: Matrix) -> None:
    """Raise InputError for a prompt that its syntax can't say, before anything is drawn."""
    chosen = {matrix.sweep.settings.prompt_syntax} | {
        value.settings.prompt_syntax
        for values in matrix.sweep.values.values()
        for value in values
        if value.settings
    }
    if "a1111" not in chosen:
        return
    where = matrix.sweep.source.where(("prompt",))
    for recipe in matrix.cells():
        if recipe.prompt_syntax == "a1111":
            check_prompt(recipe.prompt, where=where)
            check_prompt(recipe.negative_prompt, where=matrix.sweep.source.where(("negative",)))
