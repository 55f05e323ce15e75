"""Where a result comes from: commit, versions, processor. Nothing that names the machine or its owner."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["UNKNOWN", "checkout_commit", "package_versions", "processor"]

UNKNOWN = "unknown"
_ROOT = Path(__file__).resolve().parents[1]


def checkout_commit(*folders: str) -> str:
    """Return the commit of the checkout that this package runs from, or ``unknown`` where it is installed.

    Args:
        folders: What counts: ``-dirty`` is added where something in them differs from the commit or is not
            in it at all.
    """
    if not (_ROOT / ".git").exists():
        return UNKNOWN
    try:
        # Not `git describe --dirty`, which overlooks files that were never added.
        changed = _git("status", "--porcelain", "--", *folders)
        return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def processor() -> str:
    """Return the processor's name and architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine() or UNKNOWN


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those Python packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
