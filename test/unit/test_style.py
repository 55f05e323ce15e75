"""The house style, held by the linter: `make lint` says the same."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

needs_ruff = pytest.mark.skipif(
    importlib.util.find_spec("ruff") is None, reason="needs ruff (make test installs it)"
)


@needs_ruff
@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=["check", "format"])
def test_the_tree_is_clean(repository, command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
