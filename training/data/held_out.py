"""Nothing of a test set is trained on, whatever its files are called.

Sets overlap: one publishes images of another under other names and encoded anew, so lists of names do not keep
them apart. ``splits/held_out.csv`` has a fingerprint of the infrared image of every pair that results are reported
on, and what is trained on is compared with these. Only fingerprints are kept there, no pixel.

The limit of 40 of 256 bits was measured on these images. Copies in JPEG of quality 50, at half the size or both,
with other contrast, or with one per cent of noise, differ by 38 bits at most. Images of the same sets that are not
held out, also those of the same streets, differ by 71 at least. Cut-outs are not found, unless they lack no more
than some two per cent at an edge.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fusion_ros.errors import ImageError, SettingsError, shortened

from ..options import add_command
from .fingerprints import BITS, default_cache, distances, fingerprints
from .pairs import Pair, Split
from .sets import open_sets
from .splits import part_of

__all__ = ["HELD_OUT", "LIMIT", "HeldOut", "add_commands", "check", "leaked", "read_held_out"]

HELD_OUT = Path(__file__).parent / "splits" / "held_out.csv"
"""The fingerprints of all images that results are reported on."""
LIMIT = 40
"""Fingerprints that differ in at most this many of 256 bits are of one image."""
_COLUMNS = ("set", "name", "fingerprint")

EXAMPLE = """\
example:
  # fingerprints of the test parts of these sets; the file is written anew
  python -m training data held-out roadscene=/data/RoadScene tno=/data/TNO tno=/data/TNO_21 msrs=/data/MSRS
"""


@dataclass(frozen=True)
class HeldOut:
    """An image that results are reported on.

    Attributes:
        name: Of the pair, ``<set>/<stem>``.
        fingerprint: Of its infrared image, 32 bytes.
    """

    name: str
    fingerprint: bytes


def leaked(pairs: Sequence[Pair], cache: Path | None = None) -> list[tuple[str, str]]:
    """Return which pairs are held-out images: the name of each, and that of the nearest held-out image.

    Unreadable images are passed over, and so are rendered ones.

    Args:
        cache: As for :func:`training.data.fingerprints.fingerprints`.
    """
    held = read_held_out()
    codes = [
        (pair.name, code) for pair, code in zip(pairs, fingerprints(pairs, cache), strict=True) if code is not None
    ]
    if not codes:
        return []
    found = distances([code for _, code in codes], [image.fingerprint for image in held])
    nearest = found.argmin(axis=1)
    return [
        (name, held[index].name)
        for (name, _), index, bits in zip(codes, nearest, found.min(axis=1), strict=True)
        if bits <= LIMIT
    ]


def check(split: Split, cache: Path | None = None) -> Split:
    """Return a split without the pairs that are held-out images; a warning names those that were dropped.

    Validation pairs are dropped, too: which weights are kept depends on them.

    Raises:
        SettingsError: Nothing is left to train on or to validate on.
    """
    found = leaked([*split.train, *split.validation], cache)
    if not found:
        return split
    dropped = {name for name, _ in found}
    logging.getLogger(__name__).warning(
        "%d pair(s) are images of a test set and are left out: %s",
        len(found),
        shortened([f"{name} (is {held})" for name, held in found], 10),
    )
    parts = [tuple(pair for pair in part if pair.name not in dropped) for part in (split.train, split.validation)]
    for part, what in zip(parts, ("train", "validate"), strict=True):
        if not part:
            raise SettingsError(
                f"nothing is left to {what} on: all pairs are images of a test set; give other data"
            )
    return Split(*parts)


@cache
def read_held_out(path: Path = HELD_OUT) -> tuple[HeldOut, ...]:
    """Return the held-out images that a file lists.

    Raises:
        SettingsError: The file is absent, or not such a list.
    """
    if not path.is_file():
        raise SettingsError(f"no list of held-out images at {path}; write it with 'data held-out'")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        images = tuple(HeldOut(f"{row['set']}/{row['name']}", bytes.fromhex(row["fingerprint"])) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: expected the columns {', '.join(_COLUMNS)}: {error!r}") from error
    if not images or any(len(image.fingerprint) != BITS // 8 for image in images):
        raise SettingsError(f"{path}: expected fingerprints of {BITS} bits, at least one; write the list anew")
    return images


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``held-out``, which writes the list."""
    parser = add_command(
        subparsers,
        "held-out",
        help="write the fingerprints of test images",
        description="Write the fingerprints of the images that results are reported on. Only hashes are written.",
        example=EXAMPLE,
    )
    parser.add_argument("sources", nargs="+", metavar="SET=PATH", help="sets whose test part is held out")
    parser.add_argument("--out", type=Path, default=HELD_OUT, help="the list [%(default)s]")
    parser.set_defaults(run_command=_write)


def _write(options: argparse.Namespace) -> None:
    opened = open_sets(options.sources)
    pairs = [
        pair
        for item in opened
        for pair in item.found.pairs
        if part_of(item.data_set.name, pair.name.partition("/")[2]) == "test"
    ]
    if not pairs:
        raise SettingsError("none of these sets has a test part here; nothing is written")
    rows: dict[str, tuple[str, str]] = {}
    for pair, code in zip(pairs, fingerprints(pairs, default_cache()), strict=True):
        if code is None:
            raise ImageError(f"the infrared image of {pair.name} cannot be read; copy it again")
        rows.setdefault(code.hex(), tuple(pair.name.split("/", 1)))  # the same image may be in two sets
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((*name, code) for code, name in rows.items())
    logging.getLogger(__name__).info("wrote %d fingerprints to %s", len(rows), options.out)
