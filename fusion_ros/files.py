"""Files of the user: written whole or not at all, and the folders that are meant for them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["user_folder", "write_atomically"]

_DEFAULTS = {"XDG_CACHE_HOME": ".cache", "XDG_DATA_HOME": ".local/share"}


def user_folder(variable: str) -> Path | None:
    """Return the package's folder below the user's, which may be absent; None for a user without a home.

    Args:
        variable: ``XDG_CACHE_HOME`` (by default ``~/.cache``) or ``XDG_DATA_HOME`` (``~/.local/share``).
    """
    base = Path(os.environ.get(variable, ""))
    if not base.is_absolute():  # unset, or to be ignored as that variable's specification says
        try:
            base = Path.home() / _DEFAULTS[variable]
        except RuntimeError:  # as in a container that runs under a bare user number
            return None
    return base / "fusion_ros"


def write_atomically(path: Path, content: bytes | memoryview, *, keep: Path | None = None) -> None:
    """Write a file so that a reader, or a power cut, sees the old content or the new, never a part.

    Args:
        path: The file.
        content: All of it.
        keep: Where the old content goes, once the new is complete.

    Raises:
        OSError: The file cannot be written. The old one is as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if keep and path.exists():
            path.replace(keep)
        partial.replace(path)
    finally:
        with suppress(OSError):  # what went wrong before matters more
            partial.unlink(missing_ok=True)
