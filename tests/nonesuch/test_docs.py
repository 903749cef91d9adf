"""The documents hold to the code: the command-line reference, links, and the commands they show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_the_command_line_reference_is_current() -> None:
    from nonesuch.reference import reference

    written = (ROOT / "docs" / "cli.md").read_text()
    assert written == reference(), "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_in_documents_exist(document: Path) -> None:
    import typer.main

    from nonesuch.cli.app import app

    root = typer.main.get_command(app)
    for line in re.findall(r"^(?:[A-Z_]+=\S+ )*nonesuch ([^\n#|>]+)", document.read_text(), re.MULTILINE):
        words = line.split()
        if words[0].startswith("-"):
            continue
        command = root.commands.get(words[0])  # type: ignore[attr-defined]
        assert command is not None, f"{document.name}: nonesuch {line}"
        if hasattr(command, "commands"):
            # a group may have a command that is meant when none is named
            command = command.commands.get(words[1]) or command.commands[command.default]
        known = {option for p in command.params for option in [*p.opts, *p.secondary_opts]} | {"--help"}
        used = set(re.findall(r"(?<=\s)--[a-z-]+", line))
        assert used <= known, f"{document.name}: nonesuch {line}"


def test_the_readme_opens_with_the_two_commands_and_a_picture() -> None:
    head = (ROOT / "README.md").read_text()[:700]
    assert "make demo" in head
    assert "make test" in head
    assert re.search(r"!\[.+\]\(docs/demo\.png\)", head)
