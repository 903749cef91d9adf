"""No command keeps the last of several values and says nothing: an option adds up, or its repetition is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import typer.main
from typer.testing import CliRunner

from nonesuch.cli.app import app

ROOT: Any = typer.main.get_command(app)
# What a second value adds to the first: a command may only list an option here on purpose.
ADDS_UP = {
    "--where", "--order", "--group", "--facet", "--score", "--tag", "--untag", "--inputs", "--model-license",
    "--allow-host", "--class-prompt", "--sample",
}  # fmt: skip


def commands(group: Any = ROOT, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option"]


def a_value(option: Any) -> list[str]:
    """Arguments after the option's name that its type takes."""
    if option.is_flag:
        return []
    described = option.type_descriptor
    if get_origin(described.annotation) is Literal:
        return [str(get_args(described.annotation)[0])]
    least = described.parameter_info.min or 1  # text and paths take a number too
    return [str(max(1, least))] * option.nargs


def needed(command: Any, but: Any) -> list[str]:
    """What the command can't do without."""
    given: list[str] = []
    for one in command.params:
        if one.required and one is not but:
            given += ["x"] if one.param_type_name == "argument" else [one.opts[0], *a_value(one)]
    return given


CASES = [
    pytest.param(command, option, id=f"{name} {option.opts[0]}")
    for name, command in commands()
    for option in options(command)
]


def parsed(command: Any, arguments: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = command.make_context(command.name, arguments).params
    return found


@pytest.mark.parametrize(("command", "option"), CASES)
def test_a_second_value_adds_up_or_is_refused(command: Any, option: Any) -> None:
    first = [option.opts[0], *a_value(option)]
    second = [*option.secondary_opts[:1]] or first
    rest = needed(command, option)
    assert option.name in parsed(command, [*rest, *first])
    if option.multiple:
        assert option.opts[0] in ADDS_UP
        assert len(parsed(command, [*rest, *first, *second])[option.name]) == 2
    elif option.is_flag and not option.secondary_opts:
        assert parsed(command, [*rest, *first, *second])[option.name] is True
    else:
        with pytest.raises(typer.BadParameter, match="given 2 times"):
            parsed(command, [*rest, *first, *second])


def test_conditions_add_up_wherever_there_are_any() -> None:
    found = [one for _, command in commands() for one in options(command) if "--where" in one.opts]
    assert len(found) > 10
    assert all(one.multiple for one in found)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["query", "x", "--top=1", "-n", "2"], "--top: given 2 times"),
        (["query", "x", "-n1", "-n1", "-n1"], "--top: given 3 times"),
        (["query", "x", "--ascending", "--descending"], "--ascending/--descending"),
        (["query", "x", "--columns", "seed", "--columns", "file"], "Write all values in one: --columns A,B"),
        (["export", "x", "-f", "csv", "--format", "plain", "--out", "y"], "--format"),
        (["sheet", "x", "--out", "y.png", "--grid", "a", "b", "--grid", "c", "d"], "--grid"),
        (["stats", "x", "--csv", "--json"], "choose one of --csv and --json"),
        (["schedule", "x.yaml", "--out", "a", "--out", "b"], "--out"),
        (["taste", "rank", "x", "--top", "1", "--top", "2"], "--top"),
    ],
)
def test_a_contradiction_is_a_usage_error(arguments: list[str], said: str, tmp_path: Any) -> None:
    told = CliRunner().invoke(app, [str(tmp_path) if one == "x" else one for one in arguments])
    assert told.exit_code == 2, told.output
    assert said in " ".join(told.output.split())


def test_help_comes_before_a_complaint() -> None:
    told = CliRunner().invoke(app, ["query", "x", "--top", "1", "--top", "2", "--help"])
    assert told.exit_code == 0
    assert "--where" in told.output
