"""Fingerprints of images: what stays when a copy is renamed, re-encoded or resized."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from fusion_ros.errors import ImageError
from fusion_ros.files import user_folder, write_atomically

from .pairs import FilePair, Pair
from .reading import in_threads
from .sets.synthetic import SyntheticPair

__all__ = ["BITS", "FingerprintCache", "default_cache", "distances", "fingerprint", "fingerprints"]

_SIDE = 16
BITS = _SIDE * _SIDE
"""Bits of a fingerprint."""


def fingerprint(image: np.ndarray) -> bytes:
    """Return the difference hash of an image: whether each of 16 x 16 fields is brighter than its left neighbour.

    The fields are means over the image, so that size, fine noise, compression and brightness hardly matter.
    (N. Krawetz, "Kind of like that", 2013, there with 64 bits.)

    Args:
        image: ``(H, W)`` uint8.

    Returns:
        32 bytes: the 256 bits row by row.
    """
    small = cv2.resize(image.astype(np.float32), (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes()


def distances(first: Sequence[bytes], second: Sequence[bytes]) -> np.ndarray:
    """Return in how many bits fingerprints differ, ``(len(first), len(second))`` int."""
    signs = [
        np.unpackbits(np.frombuffer(b"".join(codes), np.uint8)).reshape(-1, BITS).astype(np.float32) * 2 - 1
        for codes in (first, second)
    ]
    return np.rint((BITS - signs[0] @ signs[1].T) / 2).astype(int)


class FingerprintCache:
    """Fingerprints of files that have not changed since, by path, size and time of change.

    Args:
        path: A file; None remembers nothing. Lines of it that are damaged are passed over.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[tuple[str, str, str], bytes] = {}
        self._is_new = False
        if path is not None and path.is_file():
            # Before Python 3.11, csv refuses NUL.
            with path.open(newline="", encoding="utf-8", errors="replace") as file, suppress(csv.Error):
                self._known.update(_entries(csv.reader(file)))

    def get(self, file: Path) -> bytes | None:
        """Return the fingerprint of a file, or None where it is not known."""
        return self._known.get(_key(file)) if self._path is not None else None

    def put(self, file: Path, code: bytes) -> None:
        """Remember the fingerprint of a file."""
        if self._path is not None:
            self._known[_key(file)] = code
            self._is_new = True

    def save(self) -> None:
        """Write the file, where something is new; where that cannot be done, a warning says so.

        It is written as a whole: a break leaves the old one.
        """
        if self._path is None or not self._is_new:
            return
        text = io.StringIO()
        csv.writer(text).writerows((*key, code.hex()) for key, code in self._known.items())
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, text.getvalue().encode())
        except OSError as error:
            logging.getLogger(__name__).warning(
                "fingerprints are not remembered in %s: %s", self._path, error.strerror
            )
        self._is_new = False


def default_cache() -> Path | None:
    """Return where fingerprints are remembered, below the user's cache folder; None for a user without a home."""
    own = user_folder("XDG_CACHE_HOME")
    return own / "fingerprints.csv" if own else None


def fingerprints(pairs: Sequence[Pair], cache: Path | None = None) -> list[bytes | None]:
    """Return the fingerprint of each pair's infrared image; None for one that is unreadable, or rendered.

    Each image is read once, in threads, with a progress bar; those of the cache are not read at all.

    Args:
        cache: File that remembers fingerprints from one run to the next; None for none.
    """
    known = FingerprintCache(cache)

    def of(pair: Pair) -> bytes | None:
        if isinstance(pair, SyntheticPair):
            return None
        code = known.get(pair.infrared) if isinstance(pair, FilePair) else None
        if code is not None:
            return code
        try:
            code = fingerprint(pair.read_infrared() if isinstance(pair, FilePair) else pair.read().infrared)
        except ImageError:
            return None
        if isinstance(pair, FilePair):
            known.put(pair.infrared, code)
        return code

    try:
        return in_threads(of, pairs, what="held-out check", unit="image")
    finally:
        known.save()


def _key(file: Path) -> tuple[str, str, str]:
    try:
        state = file.stat()
    except OSError:
        return str(file.absolute()), "", ""
    return str(file.absolute()), str(state.st_size), str(state.st_mtime_ns)


def _entries(rows: Iterable[list[str]]) -> Iterable[tuple[tuple[str, str, str], bytes]]:
    for row in rows:
        if len(row) == 4 and len(row[3]) == BITS // 4 and all(digit in "0123456789abcdef" for digit in row[3]):
            yield (row[0], row[1], row[2]), bytes.fromhex(row[3])
