"""What an option given twice means, for every command at one place: the parser would keep the last and say nothing.

Options that add up (--where, --order, --tag …) are declared as lists and take every value. Of all others a second value
is refused, and so are a switch in both directions and two forms of output. Paths may be written as file URLs.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from nonesuch.foundation.urls import local_path

_FORMS = ("--json", "--csv", "--paths", "--sheet")  # of which a command writes one


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
    """Refuse fsspec's storage in memory: what is put there is gone when the command ends."""
    if place.startswith("memory:/"):
        raise typer.BadParameter(f"{place}: a storage in memory ends with this command; name one that lasts")


def _check(given: list[Any]) -> None:
    options = [one for one in given if one.param_type_name == "option"]
    for option, times in Counter(options).items():
        # a plain switch says the same however often; one with two directions may contradict itself
        if times > 1 and not option.multiple and not option.count and _contradicts(option):
            names = "/".join([*option.opts[:1], *option.secondary_opts[:1]])
            listed = f" Write all in one: {names} {option.metavar}" if "," in (option.metavar or "") else ""
            raise typer.BadParameter(
                f"it is given {times} times, and only the last would count; give it once.{listed}",
                param_hint=names,
            )
    forms = [option.opts[0] for option in options if option.opts[0] in _FORMS]
    if len(set(forms)) > 1:
        raise typer.BadParameter(f"choose one of {' and '.join(dict.fromkeys(forms))}")


def _contradicts(option: Any) -> bool:
    return not option.is_flag or bool(option.secondary_opts)
