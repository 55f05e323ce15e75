"""Images a piece at a time, for arithmetic that looks at one pixel after the other."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["pieces"]

_PIXELS = 8192


def pieces(pixels: int) -> Iterator[slice]:
    """Yield consecutive slices that cover ``range(pixels)``.

    A piece in double precision is 64 KiB: some of them fit the processor's cache together, and the C library
    keeps them, where it returns large arrays to the system and gets them back page by page.
    """
    for start in range(0, pixels, _PIXELS):
        yield slice(start, min(start + _PIXELS, pixels))
