"""Pairs: an infrared and a visible image of one scene, wherever they come from, as 8-bit luma on one grid."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.errors import CalibrationError, ImageError, SettingsError
from fusion_ros.frame import Frame, Unit
from fusion_ros.geometry.warp import inner_rectangle
from fusion_ros.imaging import ThermalNormaliser, ThermalSettings, luma, to_uint8
from fusion_ros.media import IMAGE_SUFFIXES, read_image

__all__ = [
    "AS_THEY_ARE",
    "FilePair",
    "ImageStore",
    "MemoryPair",
    "Pair",
    "PairImages",
    "Split",
    "list_files",
    "list_pairs",
    "read_luma",
    "read_names",
    "read_thermal",
    "registered",
]

AS_THEY_ARE = CoarseSettings(mode="none")
"""Two images of one size that are on one grid already."""
_STRETCH = ThermalSettings(mode="percentile", time_constant_s=0.0)


class PairImages(NamedTuple):
    """The two images of a pair.

    Attributes:
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, luma, of the same size; its grid is the reference.
        flow: ``(H, W, 2)`` float32 in pixels, x first, on the visible grid and pointing into the infrared image
            (``Gives.FLOW`` in :mod:`fusion_ros.spec`): by how much the infrared image is exactly known to be off
            the visible grid. None where the two are registered, or how far they are off is not known.
    """

    infrared: np.ndarray
    visible: np.ndarray
    flow: np.ndarray | None = None


class Pair(Protocol):
    """What is trained on.

    Attributes:
        name: ``<set>/<stem>``, for example ``roadscene/FLIR_00006``; no two pairs of a training run share one.
    """

    name: str

    def read(self) -> PairImages:
        """Return the images.

        Raises:
            ImageError: A file (it is named) is unreadable or of the wrong depth, or the two sizes differ.
        """


@dataclass(frozen=True)
class FilePair:
    """Two image files.

    Attributes:
        infrared: An 8-bit image, or one of 16-bit counts, which are stretched by the picture's own percentiles.
        visible: An 8-bit image, grey or in colour.
        align: How the infrared image reaches the grid of the visible one.
        is_raw: Whether the infrared image has to hold 16-bit counts (True) or 8 bits (False); None takes either.
    """

    name: str
    infrared: Path
    visible: Path
    align: CoarseSettings = AS_THEY_ARE
    is_raw: bool | None = None

    def read(self) -> PairImages:
        """Return infrared and visible luma.

        Where a homography brings the infrared image onto the visible grid, both are cut to a rectangle that
        both cameras see.

        Raises:
            ImageError: As for :meth:`Pair.read`; or the homography does not fit the images.
        """
        infrared, visible = self.read_infrared(), read_luma(self.visible)
        if self.align.mode == "none" and infrared.shape != visible.shape:
            raise ImageError(
                f"pair {self.name!r}: expected equal sizes, got infrared {infrared.shape} ({self.infrared}) and "
                f"visible {visible.shape} ({self.visible}); align the pair first"
            )
        try:
            return registered(infrared, visible, _aligner(self.align, threading.get_ident()))
        except CalibrationError as error:
            raise ImageError(f"pair {self.name!r} ({self.infrared}): {error}") from error

    def read_infrared(self) -> np.ndarray:
        """Return the infrared image as its file has it, ``(h, w)`` uint8, on its own grid.

        Raises:
            ImageError: The file is unreadable or of the wrong depth.
        """
        if self.is_raw is None:
            return _read_infrared(self.infrared)
        return read_thermal(self.infrared) if self.is_raw else read_luma(self.infrared)


@dataclass(frozen=True, eq=False)
class MemoryPair:
    """Images that were decoded before, such as frames of a video."""

    name: str
    images: PairImages

    def read(self) -> PairImages:
        """Return the images; not to be written to."""
        return self.images


class ImageStore:
    """Images that are kept in memory, once for all who take samples of the same pairs."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Pair, PairImages]] = {}

    def __contains__(self, pair: Pair) -> bool:
        # By name, which outlives the way into another process; another pair of that name is not taken for it.
        return pair.name in self._kept and self._kept[pair.name][0] is pair

    def keep(self, pair: Pair, images: PairImages) -> None:
        """Keep the images of a pair; not to be written to from now on."""
        self._kept[pair.name] = (pair, images)

    def read(self, pair: Pair) -> PairImages:
        """Return the images of a pair: those that are kept, or else as :meth:`Pair.read` does."""
        return self._kept[pair.name][1] if pair in self else pair.read()


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is only looked at."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]


def registered(infrared: np.ndarray, visible: np.ndarray, aligner: CoarseAligner) -> PairImages:
    """Bring an infrared image onto the visible grid, and cut both to a rectangle that both cameras see.

    Args:
        infrared: ``(h, w)`` uint8.
        visible: ``(H, W)`` uint8.
        aligner: Of the thermal camera to the RGB camera.

    Raises:
        CalibrationError: The aligner's settings do not fit the sizes.
    """
    aligned = aligner(infrared, visible.shape)
    if aligned.valid is None:
        return PairImages(aligned.pixels, visible)
    window = inner_rectangle(aligned.valid)
    return PairImages(np.ascontiguousarray(aligned.pixels[window]), np.ascontiguousarray(visible[window]))


def read_luma(path: Path) -> np.ndarray:
    """Read an image file as 8-bit luma ``(H, W)``; orientation tags are ignored, as live.

    Raises:
        ImageError: The file is absent, not an image, cut short, or deeper than 8 bits.
    """
    image = _read(path)
    if image.dtype != np.uint8:
        raise ImageError(
            f"{path}: expected 8 bits a sample, got {image.dtype}; convert 16-bit thermal to 8 bits first, "
            "with the same mapping that will be used live"
        )
    return _grey(image)


def read_thermal(path: Path) -> np.ndarray:
    """Read a 16-bit thermal image ``(H, W)``, stretched by its own percentiles to uint8.

    Raises:
        ImageError: The file is absent, not an image, cut short, or not of 16 bits in one channel.
    """
    image = _read(path)
    if image.dtype != np.uint16:
        raise ImageError(f"{path}: expected 16 bits a sample, got {image.dtype}; read it as an 8-bit image")
    return _stretched(image, path)


def list_files(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem, sorted; hidden files and other files are passed over.

    Raises:
        SettingsError: There is no such folder, or two images share a stem.
    """
    if not folder.is_dir():
        raise SettingsError(f"no image folder at {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in files:
            raise SettingsError(
                f"{folder}: {files[path.stem].name} and {path.name} share a stem; keep one of them"
            )
        files[path.stem] = path
    return files


def list_pairs(infrared: Path, visible: Path, names: Sequence[str] | None = None) -> tuple[FilePair, ...]:
    """Return the pairs of two folders, named by their stems alone and sorted.

    Args:
        infrared: Folder of infrared images.
        visible: Folder of visible images; a pair is two files of equal stem.
        names: Stems to take; None takes all, and then no file may lack its partner.

    Raises:
        SettingsError: A folder is absent, a stem occurs twice, or an image lacks its partner.
    """
    infrared_files, visible_files = list_files(infrared), list_files(visible)
    wanted = sorted(set(names) if names is not None else infrared_files.keys() | visible_files.keys())
    for files, folder in ((infrared_files, infrared), (visible_files, visible)):
        absent = [name for name in wanted if name not in files]
        if absent:
            raise SettingsError(
                f"{folder}: no image for {_some(absent)}; give a list of names that both folders have"
            )
    if not wanted:
        raise SettingsError(f"expected at least one pair, found no images in {infrared} and {visible}")
    return tuple(FilePair(name, infrared_files[name], visible_files[name]) for name in wanted)


def read_names(path: Path) -> tuple[str, ...]:
    """Read a list file, one file name or stem a line, as stems; blank lines and ``#`` lines are skipped.

    Folders before a name are kept: ``train/00001D.png`` is ``train/00001D``.

    Raises:
        SettingsError: The file is absent or lists nothing.
    """
    if not path.is_file():
        raise SettingsError(f"no list file at {path}")
    lines = (line.strip() for line in path.read_text().splitlines())
    names = tuple(_stem(line) for line in lines if line and not line.startswith("#"))
    if not names:
        raise SettingsError(f"{path}: expected one file name a line, found none")
    return names


@lru_cache(maxsize=32)
def _aligner(settings: CoarseSettings, thread: int) -> CoarseAligner:
    """One for each thread: it keeps the maps of the latest sizes."""
    return CoarseAligner(settings)


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"{error}; delete or replace it") from error


def _read_infrared(path: Path) -> np.ndarray:
    """Read an infrared image of 8 bits as luma, or of 16 bits as counts."""
    image = _read(path)
    if image.dtype == np.uint8:
        return _grey(image)
    if image.dtype == np.uint16:
        return _stretched(image, path)
    raise ImageError(
        f"{path}: expected an infrared image of 8 bits, or of 16 bits in one channel, got {image.dtype}; convert "
        "it to one of these"
    )


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else to_uint8(luma(image))


def _stretched(counts: np.ndarray, path: Path) -> np.ndarray:
    try:
        return to_uint8(ThermalNormaliser(_STRETCH)(Frame(counts, 0, encoding="mono16", unit=Unit.COUNTS)))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _stem(name: str) -> str:
    # Only an image suffix is dropped: a stem may itself hold dots.
    path = Path(name)
    return (path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).as_posix()


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
