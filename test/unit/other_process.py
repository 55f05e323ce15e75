"""The same program in another process, whose hashes and global random numbers are others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["printed_elsewhere"]


def printed_elsewhere(repository: Path, module: str, expression: str) -> str:
    """Return what a new process prints for an expression of a test module in this folder."""
    code = (
        "import sys; sys.path.insert(0, 'test/unit'); import numpy as np; np.random.seed(9)\n"
        f"import {module}; print({module}.{expression})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
