"""What a data set is: where its pairs lie on disk, what it may be used for, and how it is asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusion_ros.alignment import CoarseSettings
from fusion_ros.errors import SettingsError, shortened
from fusion_ros.settings import Settings, setting

from ..pairs import AS_THEY_ARE, FilePair, Pair, list_files
from ..splits import part_of

__all__ = [
    "DataSet",
    "Found",
    "ImageSet",
    "Listing",
    "SetOptions",
    "TwoPlaces",
    "below",
    "child",
    "folder_pairs",
    "thinned",
]

_MOST_FOLDERS = 50


@dataclass(frozen=True)
class SetOptions(Settings):
    """Which of a set's pairs are taken."""

    every: int = setting(
        1, "Take every n-th pair in order of names; of a video, every n-th frame.", bounds=(1, None)
    )
    limit: int = setting(
        0, "Take at most this many pairs for training, drawn at random; 0 takes all.", bounds=(0, None)
    )
    seed: int = setting(0, "Seed of that draw.", bounds=(0, None))


@dataclass(frozen=True)
class Found:
    """What lies at a place.

    Attributes:
        pairs: In order of their names.
        unpaired: Images that lack their partner, by path below the root.
        notes: Sentences for whoever asked: what was left out, and why.
    """

    pairs: tuple[Pair, ...]
    unpaired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class Listing:
    """Pairs while they are collected, by stem."""

    pairs: dict[str, FilePair] = field(default_factory=dict)
    unpaired: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class DataSet(ABC):
    """A data set as its makers publish it.

    Attributes:
        name: For the command line and before every pair's name.
        title: What it is, in a few words.
        tree: The folders and files that are expected.
        licence: What its makers allow, as far as they say so.
        registered: Whether infrared and visible image show the same place at the same pixel.
        example: How it is asked for on the command line.
        options: The class of its options.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    tree: ClassVar[str]
    licence: ClassVar[str]
    registered: ClassVar[str]
    example: ClassVar[str]
    options: ClassVar[type[SetOptions]] = SetOptions

    @abstractmethod
    def find(self, root: Path, options: SetOptions | None = None) -> Found:
        """Return the pairs at ``root``.

        Args:
            root: Folder, or file, with the tree below it.
            options: Of the class :attr:`options`; its defaults where None is given.

        Raises:
            SettingsError: The tree is not there; the message shows what was expected and what was found.
        """

    def read_paths(self, paths: Sequence[str]) -> tuple[Path, dict[str, Any]]:
        """Return the root, and the options that further paths stand for, of a text such as ``set=path,path``.

        Raises:
            SettingsError: They are too few or too many.
        """
        if len(paths) != 1:
            raise SettingsError(f"{self.name}: expected one path, such as {self.example}, got {len(paths)}")
        return Path(paths[0]), {}


class TwoPlaces(DataSet):
    """A data set whose visible images may lie elsewhere: the option ``visible`` says where."""

    def read_paths(self, paths: Sequence[str]) -> tuple[Path, dict[str, Any]]:
        """Return the root, and the second path as the option ``visible``; see :meth:`DataSet.read_paths`."""
        if len(paths) not in (1, 2):
            raise SettingsError(f"{self.name}: expected one path or two, such as {self.example}, got {len(paths)}")
        return Path(paths[0]), {"visible": paths[1]} if len(paths) == 2 else {}


class ImageSet(DataSet):
    """A data set of image files: no pixel is read to find them."""

    def find(self, root: Path, options: SetOptions | None = None) -> Found:
        """Return the pairs at ``root``; see :meth:`DataSet.find`."""
        options = options or self.options()
        if not self.fits(root, options):
            raise self._no_tree(root, options)
        listing = self.collect(root, options)
        if not listing.pairs:
            alone = f"; {len(listing.unpaired)} image(s) lack a partner: {shortened(listing.unpaired)}"
            raise SettingsError(
                f"{self.name}: no pair of images below {root}{alone if listing.unpaired else ''}; "
                f"expected\n{self.tree}"
            )
        stems = thinned(sorted(listing.pairs), self.name, options)
        notes = [*listing.notes]
        if len(stems) < len(listing.pairs):
            notes.append(f"{len(stems)} of {len(listing.pairs)} pairs are taken, as asked (every, limit)")
        pairs = tuple(listing.pairs[stem] for stem in stems)
        return Found(pairs, tuple(sorted(listing.unpaired)), tuple(notes))

    @abstractmethod
    def fits(self, root: Path, options: SetOptions) -> bool:
        """Say whether the set's folders, or enough of them, lie below ``root``."""

    @abstractmethod
    def collect(self, root: Path, options: SetOptions) -> Listing:
        """Return all pairs below a root that fits."""

    def _no_tree(self, root: Path, options: SetOptions) -> SettingsError:
        if not root.is_dir():
            return SettingsError(f"{self.name}: no folder at {root}; expected\n{self.tree}")
        inside = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
        near = [str(place) for place in _near(root) if self._is_at(place, options)]
        near.sort(key=lambda place: self.name not in place.lower())
        hint = f"; did you mean {shortened(near)}?" if near else ""
        return SettingsError(
            f"{self.name}: {root} does not hold the folders of this set{hint}\n"
            f"expected\n{self.tree}\nfound {shortened(inside, 8)}{self.missing(root)}"
        )

    def _is_at(self, place: Path, options: SetOptions) -> bool:
        try:
            return self.fits(place, options)
        except OSError:
            return False  # somebody else's folder

    def missing(self, root: Path) -> str:
        """Say which folder of a pair of folders is missing, where the other one is there."""
        return ""


def child(root: Path, path: str) -> Path | None:
    """Return the folder at ``root/path``, upper and lower case alike, or None."""
    here = root
    for name in path.split("/"):
        if not here.is_dir():
            return None
        if not (here / name).is_dir():
            alike = (item for item in here.iterdir() if item.name.lower() == name.lower() and item.is_dir())
            here = next(alike, here / name)
        else:
            here = here / name
    return here if here.is_dir() else None


def folder_pairs(
    listing: Listing,
    folders: tuple[Path, Path],
    name: str,
    root: Path,
    *,
    prefix: str = "",
    align: CoarseSettings = AS_THEY_ARE,
    is_raw: bool | None = None,
) -> None:
    """Add the pairs of two folders to a listing: images of equal stem.

    Args:
        folders: Of infrared images, of visible images.
        name: Of the set.
        root: Unpaired images are named by their paths below it.
        prefix: Put before the stems.
        align: As for :class:`~training.data.pairs.FilePair`, as is ``is_raw``.

    Raises:
        SettingsError: Two images of one folder share a stem.
    """
    infrared, visible = (list_files(folder) for folder in folders)
    for stem in infrared.keys() & visible.keys():
        full = f"{prefix}{stem}"
        listing.pairs[full] = FilePair(f"{name}/{full}", infrared[stem], visible[stem], align, is_raw)
    for files, others in ((infrared, visible), (visible, infrared)):
        listing.unpaired += [below(path, root) for stem, path in files.items() if stem not in others]


def below(path: Path, root: Path) -> str:
    """Return a path as seen from the root, where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def thinned(stems: Sequence[str], name: str, options: SetOptions) -> list[str]:
    """Return the stems that are taken: every n-th, and of those for training at most so many, in their order.

    Args:
        name: Of the set, whose own split says which are for training.
    """
    stems = list(stems)[:: options.every]
    if not options.limit:
        return stems
    train = [stem for stem in stems if part_of(name, stem) == "train"]
    if len(train) <= options.limit:
        return stems
    drawn = np.random.default_rng(options.seed).permutation(len(train))[: options.limit]
    left_out = set(train) - {train[index] for index in drawn}
    return [stem for stem in stems if stem not in left_out]


def _near(root: Path) -> Iterable[Path]:
    """Folders where somebody may have meant to point: below, one further below, and above."""
    root = root.absolute()
    inner = _folders(root)
    yield from inner
    for folder in inner:
        yield from _folders(folder)
    yield from list(root.parents)[:2]


def _folders(root: Path) -> list[Path]:
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []
    return folders[:_MOST_FOLDERS]
