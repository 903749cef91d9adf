"""Renew the pins under [tool.uv] in pyproject.toml with what resolves today: `make pins`.

CUDA packages are left out: torch pins its own, and a machine without a GPU does without them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
BLOCK = re.compile(r"(constraint-dependencies = \[\n).*?(\]\n)", re.DOTALL)
LEFT_OUT = re.compile(r"(nvidia|cuda|triton|setuptools|pywin32)")


def main() -> None:
    text = PYPROJECT.read_text()
    PYPROJECT.write_text(BLOCK.sub(r"\1\2", text))
    done = subprocess.run(
        [sys.argv[1], "pip", "compile", str(PYPROJECT), "--extra", "dev", "--universal",
         "--python-version", "3.11", "--no-annotate", "--no-header", "--quiet"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        PYPROJECT.write_text(text)
        raise SystemExit(done.stderr)
    pins = [
        line.replace(" ; ", "; ") for line in done.stdout.splitlines() if line and not LEFT_OUT.match(line)
    ]
    listed = "".join(f'  "{pin}",\n' for pin in pins)
    PYPROJECT.write_text(BLOCK.sub(lambda found: found[1] + listed + found[2], text))


if __name__ == "__main__":
    main()
