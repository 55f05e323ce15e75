"""Paired folders: an infrared and a visible image of the same scene share a file stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fusion_ros.errors import ImageError, SettingsError

__all__ = ["IMAGE_SUFFIXES", "Pair", "Split", "list_pairs", "read_luma", "read_names", "split_pairs"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """Two registered images of one scene, as files."""

    name: str
    infrared: Path
    visible: Path

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return infrared and visible luma, each ``(H, W)`` uint8.

        Raises:
            ImageError: A file is unreadable or not 8-bit, or the two sizes differ.
        """
        infrared, visible = read_luma(self.infrared), read_luma(self.visible)
        if infrared.shape != visible.shape:
            raise ImageError(
                f"pair {self.name!r}: expected equal sizes, got infrared {infrared.shape} ({self.infrared}) and "
                f"visible {visible.shape} ({self.visible}); align the pair first"
            )
        return infrared, visible


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is only looked at."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]


def read_luma(path: Path) -> np.ndarray:
    """Read an image file as 8-bit luma ``(H, W)``.

    Raises:
        ImageError: The file is absent, not an image, cut short, or deeper than 8 bits.
    """
    image = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH)  # grey, at the file's own depth
    if image is None:
        raise ImageError(f"{path}: expected a readable image ({', '.join(IMAGE_SUFFIXES)}); delete or replace it")
    if image.dtype != np.uint8:
        raise ImageError(
            f"{path}: expected 8 bits a sample, got {image.dtype}; convert 16-bit thermal to 8 bits first, "
            "with the same mapping that will be used live"
        )
    return image


def list_pairs(infrared: Path, visible: Path, names: Sequence[str] | None = None) -> tuple[Pair, ...]:
    """Return the pairs of two folders, sorted by name.

    Args:
        infrared: Folder of infrared images.
        visible: Folder of visible images; a pair is two files of equal stem.
        names: Stems to take; None takes all, and then no file may lack its partner.

    Raises:
        SettingsError: A folder is absent, a stem occurs twice, or an image lacks its partner.
    """
    infrared_files, visible_files = _files_by_stem(infrared), _files_by_stem(visible)
    wanted = sorted(set(names) if names is not None else infrared_files.keys() | visible_files.keys())
    for files, folder in ((infrared_files, infrared), (visible_files, visible)):
        absent = [name for name in wanted if name not in files]
        if absent:
            raise SettingsError(
                f"{folder}: no image for {_some(absent)}; give a list of names that both folders have"
            )
    if not wanted:
        raise SettingsError(f"expected at least one pair, found no images in {infrared} and {visible}")
    return tuple(Pair(name, infrared_files[name], visible_files[name]) for name in wanted)


def read_names(path: Path) -> tuple[str, ...]:
    """Read a list file, one file name or stem a line, as stems; blank lines and ``#`` lines are skipped.

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


def split_pairs(
    pairs: Sequence[Pair],
    *,
    validation: Sequence[str] | None,
    test: Sequence[str] = (),
    validation_share: float = 0.1,
) -> Split:
    """Split pairs into training and validation; the test list is held apart from both.

    Args:
        pairs: Everything that may be used.
        validation: Stems to validate on, taken out of training; None takes the last ``validation_share``.
        test: Stems that must not be among ``pairs``.
        validation_share: Share for validation where no list is given.

    Raises:
        SettingsError: A test pair is among the pairs, a validation pair is not, or a part is empty.
    """
    by_name = {pair.name: pair for pair in pairs}
    leaked = sorted(by_name.keys() & set(test))
    if leaked:
        raise SettingsError(
            f"{len(leaked)} pair(s) of the test list would be trained or validated on: {_some(leaked)}; "
            "take them out of the training list"
        )
    if validation is None:
        names = sorted(by_name)
        validation = names[len(names) - max(1, round(validation_share * len(names))) :]
    unknown = [name for name in validation if name not in by_name]
    if unknown:
        raise SettingsError(f"the validation list names {_some(unknown)}, which are not among the pairs")
    held_out = set(validation)
    train = tuple(pair for pair in pairs if pair.name not in held_out)
    if not train:
        raise SettingsError(f"nothing is left to train on: all {len(pairs)} pair(s) are held out for validation")
    return Split(train, tuple(by_name[name] for name in sorted(held_out)))


def _files_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise SettingsError(f"no image folder at {folder}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in files:
            raise SettingsError(
                f"{folder}: {files[path.stem].name} and {path.name} share a stem; keep one of them"
            )
        files[path.stem] = path
    return files


def _stem(name: str) -> str:
    # Only an image suffix is dropped: a stem may itself hold dots.
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
