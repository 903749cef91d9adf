"""What an option given twice means, in one place for every command: the parser would silently keep the last.

Options that add up (--where, --order, --tag …) are declared as lists and take every value. For all others a second value
is refused; so are a switch in both directions and two output formats. Paths may be written as file URLs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from nonesuch.foundation.urls import local_path

_FORMS = ("--json", "--csv", "--paths", "--sheet")  # a command writes one of these


class OnceCommand(TyperCommand):
    """A command that takes each option once, unless the option is a list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        rest: list[str] = super().parse_args(ctx, args)  # first: --help and wrong values come before this
        if not ctx.resilient_parsing:
            _check(given)
            ctx.params.update({name: _local(value) for name, value in ctx.params.items()})
        return rest


def take_once(app: typer.Typer) -> None:
    """Let every command of an application, those of its groups too, take its options once."""
    for command in app.registered_commands:
        command.cls = OnceCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            take_once(group.typer_instance)


def _local(value: Any) -> Any:
    """A path, or several, as a folder of this machine where it is written as a file URL."""
    if isinstance(value, list):
        return [_local(one) for one in value]
    if not isinstance(value, Path):
        return value
    check_lasting(str(value))
    return local_path(value) if str(value).startswith("file:/") else value


def check_lasting(place: str) -> None:
    """Refuse fsspec's storage in memory: its contents are lost when the command ends."""
    if place.startswith("memory:/"):
        raise typer.BadParameter(
            f"{place}: storage in memory is lost when this command ends; name a folder or URL that lasts"
        )


def _check(given: list[Any]) -> None:
    options = [one for one in given if one.param_type_name == "option"]
    for option, times in Counter(options).items():
        # a plain switch means the same however often it is given; one with two directions may contradict itself
        if times > 1 and not option.multiple and not option.count and _contradicts(option):
            names = "/".join([*option.opts[:1], *option.secondary_opts[:1]])
            listed = (
                f" Write all values in one: {names} {option.metavar}" if "," in (option.metavar or "") else ""
            )
            raise typer.BadParameter(
                f"given {times} times, but only the last would count; give it once.{listed}",
                param_hint=names,
            )
    forms = [option.opts[0] for option in options if option.opts[0] in _FORMS]
    if len(set(forms)) > 1:
        raise typer.BadParameter(f"choose one of {' and '.join(dict.fromkeys(forms))}")


def _contradicts(option: Any) -> bool:
    return not option.is_flag or bool(option.secondary_opts)
