"""``python -m training data check``: is a data set whole, and does it look as it should?"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from fusion_ros.errors import ImageError, shortened
from fusion_ros.media import read_image

from ..options import add_command
from .fingerprints import default_cache
from .held_out import leaked
from .pairs import FilePair, Pair
from .reading import in_threads
from .sets import SETS, DataSet, Found, named, source_of
from .sheet import contact_sheet, sampled
from .splits import PARTS, part_of

__all__ = ["Report", "add_commands", "examine", "write_sheet"]

_MOST_NAMES = 10
_MOST_SIZES = 4
_SHEET_ROWS = 8

EXAMPLES = """\
examples:
  # read everything, and write a contact sheet
  python -m training data check kaist /data/kaist --out sheet.png

  # every tenth frame of a recording, with its own topics
  python -m training data check bag drive1 --option rgb_topic=/camera/image_raw --option every=10

  # two folders of one's own
  python -m training data check folders data/ir data/vis
"""


@dataclass(frozen=True)
class Report:
    """What was found out about a data set.

    Attributes:
        parts: Number of pairs by part, by the set's own rules.
        sizes: Number of pairs by ``(H, W)`` of the images on their common grid.
        bits: Number of readable pairs by bits of the infrared images' samples.
        unreadable: What is wrong with each pair that cannot be read.
        unpaired: Images that lack their partner.
        leaked: Pairs outside the test part that are held-out images, each with that image's name.
        notes: What the reader had to say.
    """

    parts: Counter[str]
    sizes: Counter[tuple[int, int]]
    bits: Counter[int]
    unreadable: tuple[str, ...]
    unpaired: tuple[str, ...]
    leaked: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether every image can be read and has its partner."""
        return not (self.unreadable or self.unpaired)


def examine(name: str, found: Found, cache: Path | None = None) -> Report:
    """Read every pair of a set, in threads, with a progress bar.

    Args:
        name: Of the set.
        found: From :meth:`training.data.sets.DataSet.find`.
        cache: As for :func:`training.data.fingerprints.fingerprints`.
    """
    part = {pair.name: part_of(name, pair.name.partition("/")[2]) for pair in found.pairs}
    results = in_threads(_size_and_bits, found.pairs, what="reading", unit="pair")
    read = [result for result in results if not isinstance(result, str)]
    return Report(
        parts=Counter(part.values()),
        sizes=Counter(size for size, _ in read),
        bits=Counter(bits for _, bits in read),
        unreadable=tuple(result for result in results if isinstance(result, str)),
        unpaired=found.unpaired,
        leaked=tuple(leaked([pair for pair in found.pairs if part[pair.name] != "test"], cache)),
        notes=found.notes,
    )


def write_sheet(path: Path, pairs: Sequence[Pair]) -> None:
    """Write a contact sheet of some of the readable pairs.

    Raises:
        ImageError: None can be read, or the file cannot be written.
    """
    shown = []
    for pair in sampled(pairs, _SHEET_ROWS):
        try:
            shown.append((pair.name, pair.read()))
        except ImageError:
            continue  # the report names it
    if not shown:
        raise ImageError(f"{path}: not one of the pairs to show can be read")
    written, code = cv2.imencode(".png", cv2.cvtColor(contact_sheet(shown), cv2.COLOR_RGB2BGR))
    try:
        path.write_bytes(code.tobytes() if written else b"")
    except OSError as error:
        raise ImageError(f"{path}: cannot be written: {error.strerror}") from error


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``list``, which names the data sets, and ``check``, which reads one."""
    listing = add_command(
        subparsers,
        "list",
        help="name the data sets and the folders that they are expected in",
        description="Name the data sets, the folders that each is expected in, and how it is asked for.",
        example="example:\n  python -m training data list kaist\n",
    )
    listing.add_argument("sets", nargs="*", metavar="SET", help=f"which; all by default: {', '.join(SETS)}")
    listing.set_defaults(run_command=_list)
    check = add_command(
        subparsers,
        "check",
        help="read a whole data set and say what is wrong with it",
        description="Read every image of a data set: counts, sizes, unreadable and unpaired files, images of test "
        "sets. The exit status is 1 where an image is unreadable or lacks its partner.",
        example=EXAMPLES,
    )
    check.add_argument("set", choices=SETS, metavar="SET", help=", ".join(SETS))
    check.add_argument("paths", nargs="*", metavar="PATH", help="where it is; see 'data list'")
    check.add_argument("--out", type=Path, metavar="PNG", help="write a contact sheet of some pairs")
    check.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the set; may be repeated"
    )
    check.set_defaults(run_command=_check)


def _list(options: argparse.Namespace) -> None:
    for data_set in [named(name) for name in options.sets] or SETS.values():
        sys.stdout.write(_description(data_set))


def _check(options: argparse.Namespace) -> None:
    source = source_of(options.set, [*options.paths, *options.option])
    found = source.find()
    report = examine(options.set, found, default_cache())
    sys.stdout.write(_text(report))
    if options.out:
        write_sheet(options.out, found.pairs)
    if not report.is_sound:
        raise ImageError(
            f"{len(report.unreadable)} pair(s) cannot be read and {len(report.unpaired)} images have no partner; "
            "replace or remove them"
        )


def _bits(pair: Pair) -> int:
    if not isinstance(pair, FilePair):
        return 8
    # Read once more only where nobody knows.
    return 8 * read_image(pair.infrared).itemsize if pair.is_raw is None else 8 * (1 + pair.is_raw)


def _size_and_bits(pair: Pair) -> tuple[tuple[int, int], int] | str:
    """The size of a pair's images and the bits of the infrared file, or what is wrong with it."""
    try:
        return pair.read().visible.shape, _bits(pair)
    except ImageError as error:
        return str(error)


def _text(report: Report) -> str:
    total = sum(report.parts.values())
    lines = [
        f"pairs       {total}: " + ", ".join(f"{report.parts[part]} {part}" for part in PARTS),
        f"sizes       {_sizes(report.sizes)}",
        f"infrared    {', '.join(f'{number} of {bits} bits' for bits, number in report.bits.items())}",
        f"unreadable  {len(report.unreadable)}",
        *(f"  {problem}" for problem in report.unreadable[:_MOST_NAMES]),
        f"unpaired    {_names(report.unpaired)}",
        f"held out    {len(report.leaked)} of the pairs for training and validation: images of a test set; "
        "training leaves them out",
        *(f"  {name} is {held}" for name, held in report.leaked[:_MOST_NAMES]),
        *(f"note: {note}" for note in report.notes),
    ]
    return "\n".join(lines) + "\n"


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    """The commonest sizes, and how far the others reach."""
    shown = ", ".join(f"{n} of {width} x {height}" for (height, width), n in sizes.most_common(_MOST_SIZES))
    if len(sizes) <= _MOST_SIZES:
        return shown or "none"
    heights, widths = zip(*sizes, strict=True)
    reach = f"{min(widths)}-{max(widths)} x {min(heights)}-{max(heights)}"
    return f"{shown} and {len(sizes) - _MOST_SIZES} more sizes, {reach}"


def _names(names: Sequence[str]) -> str:
    return f"{len(names)}: {shortened(names, _MOST_NAMES)}" if names else "0"


def _description(data_set: DataSet) -> str:
    options = ", ".join(data_set.options.describe())
    return (
        f"{data_set.name}: {data_set.title}\n{data_set.tree}\n"
        f"  licence:    {data_set.licence}\n  registered: {data_set.registered}\n"
        f"  options:    {options}\n  example:    {data_set.example}\n\n"
    )
