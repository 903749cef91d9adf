"""The command-line reference, written from the commands themselves: `python -m nonesuch.reference`."""

from __future__ import annotations

from typing import Any

import typer.main

from nonesuch.cli.app import app

HEAD = """# Command line

Written by `python -m nonesuch.reference`; a test holds it to the commands.

stdout is data, stderr is progress and status. Exit codes: 0 ok, 1 failed, 2 usage or bad input,
3 partly failed, 130 interrupted.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    root: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *(_command(name, command) for name, command in sorted(_walk(root, "nonesuch")))])


def _walk(group: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += _walk(command, f"{path} {name}")
        elif not command.hidden:
            found.append((f"{path} {name}", command))
    return found


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join(
        [name, *(p.metavar or p.name.upper() for p in arguments), *(["[OPTIONS]"] if options else [])]
    )
    lines = [f"## {name}", "", str(command.help).strip(), "", "```", usage, "```", ""]
    rows = [
        f"| `{', '.join([*p.opts, *p.secondary_opts])}` | {_value(p)} | {(p.help or '').strip()} |"
        for p in options
    ]
    if rows:
        lines += ["| option | value | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    shown = f"`{option.metavar or option.name.upper()}`".replace("|", "\\|")
    default = option.default
    if default is None or callable(default) or default in ((), []):
        return shown
    return f"{shown}, default `{default}`"


if __name__ == "__main__":
    print(reference(), end="")
