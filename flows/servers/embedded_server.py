"""Prefect as this program uses it: no settings from the current folder, and a server that ends with its run.

Prefect starts its embedded server by `python -m uvicorn`; here that becomes `nonesuch.flows.servers.prefect_process`, which runs
the same in the way of nonesuch.foundation.children, before anything of it can be left behind; and elsewhere, since its
migrations import from the current folder.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from nonesuch.foundation import children
from nonesuch.foundation.imported import when_imported


def prepare() -> None:
    """See to it, in this process, for whatever imports Prefect later."""
    when_imported("prefect.server.api.server", _start_in_our_way)
    if children.is_ours():
        when_imported("prefect.settings.sources", _leave_out_the_folder)


def _start_in_our_way(server: Any) -> None:
    """Exchange what `prefect.server.api.server` starts its process with."""

    class Popen(subprocess.Popen[Any]):
        def __init__(self, args: Sequence[str], env: Mapping[str, str], **options: Any) -> None:
            command = children.command("nonesuch.flows.servers.prefect_process", *args[2:])  # after python -m
            super().__init__(command, env=children.environment(env), cwd=children.NOBODYS_FOLDER, **options)

    server.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": Popen})


def _leave_out_the_folder(sources: Any) -> None:
    """Have Prefect read nothing from the current folder's .env, prefect.toml and pyproject.toml.

    They may name modules to import and servers to send to. Its profile and the environment count.
    """
    sources.TomlConfigSettingsSourceBase._read_files = lambda self, files, **options: {}
    sources.DotEnvSettingsSource._read_env_files = lambda self: {}
    sources._get_profiles_path_from_toml = lambda path, keys: None
    sources.dotenv = SimpleNamespace(dotenv_values=lambda path: {})
