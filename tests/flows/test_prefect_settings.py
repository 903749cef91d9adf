"""Prefect's settings come from the environment and its profile, never from files in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASKED = "import nonesuch.flows; from prefect.settings import Settings; print(Settings().api.url)"
OURS = "from nonesuch.foundation import children; children.begin(); " + ASKED
NAMED = "http://127.0.0.1:4200/api"

pytestmark = pytest.mark.slow


def told(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("name", [".env", "prefect.toml", "pyproject.toml"])
def test_a_file_of_the_folder_changes_them_in_other_programs_only(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        {
            ".env": f"PREFECT_API_URL={NAMED}\n",
            "prefect.toml": f'[api]\nurl = "{NAMED}"\n',
            "pyproject.toml": f'[tool.prefect.api]\nurl = "{NAMED}"\n',
        }[name]
    )
    assert told(OURS, tmp_path) == "None"
    assert told(ASKED, tmp_path) == NAMED


def test_the_folder_names_no_profiles_and_may_hold_nonsense(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{NAMED}"\n')
    (tmp_path / ".env").write_bytes(b"PREFECT_PROFILES_PATH=p.toml\nX=\xff\n")
    (tmp_path / "prefect.toml").write_text('profiles_path = "p.toml"\n= nonsense')
    (tmp_path / "pyproject.toml").write_text("= nonsense")
    assert told(OURS, tmp_path) == "None"
    assert told(OURS, tmp_path, PREFECT_PROFILES_PATH=str(tmp_path / "p.toml")) == NAMED
