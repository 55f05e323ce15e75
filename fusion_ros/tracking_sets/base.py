"""What a set of tracking sequences is, and how its folders are found below a root."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..errors import ImageError, SettingsError, shortened
from ..frame import Sensor
from ..media import ImageClip, open_clip
from .sequence import FileSequence
from .truth import as_truth, read_rows

__all__ = ["SequenceSet", "first_file"]

_DEEPEST = 3  # folders from the root to a sequence, as in VTUAV's test_ST/test_ST_001/<sequence>
_TOLERATED_FRAMES = 2  # by which copies of the sets differ between cameras and truth
_TOLERATED_SHARE = 0.02


class SequenceSet(ABC):
    """A tracking data set as its makers publish it.

    Attributes:
        name: For the command line.
        title: What it is, in a few words.
        tree: The folders and files that are expected.
        rgb_folder: Name of the folder of a sequence's RGB images.
        thermal_folder: The same for its thermal images.
        truth_files: Names of the file of boxes; the first that is there is read.
        rate_hz: Frames a second.
        step: Frames from one row of the file of boxes to the next.
        keeps_part: A sequence is named with the folder that it lies in, which says what it is meant for.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    tree: ClassVar[str]
    rgb_folder: ClassVar[str]
    thermal_folder: ClassVar[str]
    truth_files: ClassVar[tuple[str, ...]]
    rate_hz: ClassVar[float] = 30.0
    step: ClassVar[int] = 1
    keeps_part: ClassVar[bool] = False

    def find(self, root: Path) -> tuple[FileSequence, ...]:
        """Return the sequences at ``root``, which may be one itself, in order of their names; no pixel is read.

        Raises:
            SettingsError: There is none, or one of them lacks something or contradicts itself; the message says
                what was expected and what is missing.
        """
        return tuple(self._sequence(root, folder) for folder in self.folders(root))

    def holds(self, root: Path) -> bool:
        """Say whether a sequence lies at ``root`` or below it."""
        return root.is_dir() and any(self._below(root, _DEEPEST))

    def folders(self, root: Path) -> list[Path]:
        """Return the folders of all sequences, sorted.

        Raises:
            SettingsError: There is none.
        """
        if not root.is_dir():
            raise SettingsError(f"{self.name}: no folder at {root}; expected\n{self.tree}")
        found = sorted(self._below(root, _DEEPEST))
        if not found:
            raise SettingsError(
                f"{self.name}: {root} does not hold sequences of this set\nexpected\n{self.tree}\n"
                f"found {shortened(sorted(path.name for path in root.iterdir()), 8)}{self._half(root)}"
            )
        return found

    def clips(self, folder: Path) -> tuple[ImageClip, ImageClip]:
        """Return the RGB and the thermal images of a sequence, frame by frame.

        Raises:
            SettingsError: A folder holds no images, or one camera's are many more than the other's.
        """
        rgb = _numbered(folder / self.rgb_folder, Sensor.RGB)
        thermal = _numbered(folder / self.thermal_folder, Sensor.THERMAL)
        if not _agree(len(rgb.files), len(thermal.files)):
            raise SettingsError(
                f"{folder}: expected as many thermal as RGB images, got {len(thermal.files)} in "
                f"{self.thermal_folder} and {len(rgb.files)} in {self.rgb_folder}; copy the sequence again"
            )
        return rgb, thermal

    def name_of(self, root: Path, folder: Path) -> str:
        """Return the name of the sequence in a folder below the root."""
        if self.keeps_part:
            return f"{folder.parent.name}/{folder.name}"
        return folder.name if folder == root else folder.relative_to(root).as_posix()

    @abstractmethod
    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the boxes ``(N, 4)``, x, y, width, height from column and row 0 on, of the rows of a file.

        Raises:
            SettingsError: A row has too few numbers.
        """

    def attributes(self, root: Path, folder: Path) -> frozenset[str]:
        """Return what the set says of a sequence, where its files of attributes are at hand."""
        return frozenset()

    def is_sequence(self, folder: Path) -> bool:
        """Say whether a folder is a sequence: it holds the images of both cameras."""
        return (folder / self.rgb_folder).is_dir() and (folder / self.thermal_folder).is_dir()

    def rate_of(self, folder: Path) -> float:
        """Return the frames a second of a sequence."""
        return self.rate_hz

    def _below(self, folder: Path, depth: int) -> Iterator[Path]:
        if self.is_sequence(folder):
            yield folder
        elif depth:
            with os.scandir(folder) as inside:  # says what is a folder without a look at each of many images
                inner = [folder / entry.name for entry in inside if entry.is_dir() and entry.name[0] != "."]
            for place in inner:
                yield from self._below(place, depth - 1)

    def _half(self, root: Path) -> str:
        """Name the folder that is missing beside one that is there."""
        for place in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
            here = {name: (place / name).is_dir() for name in (self.rgb_folder, self.thermal_folder)}
            if any(here.values()):
                return f"; missing {next(name for name, is_there in here.items() if not is_there)} in {place}"
        return ""

    def _sequence(self, root: Path, folder: Path) -> FileSequence:
        rgb, thermal = self.clips(folder)
        path = first_file(folder, self.truth_files)
        boxes, absent = as_truth(self.boxes(read_rows(path)))
        boxes, absent = self._per_frame(path, boxes, absent, min(len(rgb.files), len(thermal.files)))
        name, attributes = self.name_of(root, folder), self.attributes(root, folder)
        return FileSequence(name, rgb, thermal, boxes, absent, attributes, self.rate_of(folder))

    def _per_frame(
        self, path: Path, boxes: np.ndarray, absent: np.ndarray, frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spread the rows of the file over the frames; copies that hold only frames with a row are taken so."""
        if _agree(len(boxes), frames):
            count = min(len(boxes), frames)
            return boxes[:count], absent[:count]
        if self.step == 1 or not (len(boxes) - 1) * self.step < frames <= len(boxes) * self.step:
            every = f" (a box for every {self.step} frames)" if self.step > 1 else ""
            raise SettingsError(
                f"{path}: expected a box for each of {frames} frames{every}, got {len(boxes)}; "
                "copy the sequence again"
            )
        spread, unseen = np.full((frames, 4), np.nan), np.zeros(frames, bool)
        spread[:: self.step], unseen[:: self.step] = boxes, absent
        return spread, unseen

    def _columns(self, rows: list[list[float]]) -> np.ndarray:
        """The first four numbers of each row."""
        short = next((number for number, row in enumerate(rows) if len(row) < 4), None)
        if short is not None:
            raise SettingsError(f"{self.name}: expected four numbers for frame {short}, got {rows[short]}")
        return np.array([row[:4] for row in rows])


def first_file(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first of the named files that is in a folder.

    Raises:
        SettingsError: None is.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise SettingsError(f"{folder}: missing {' or '.join(names)}")
    return path


def _agree(first: int, second: int) -> bool:
    return abs(first - second) <= max(_TOLERATED_FRAMES, _TOLERATED_SHARE * max(first, second))


def _numbered(folder: Path, sensor: Sensor) -> ImageClip:
    """The images of a folder in order of the numbers in their names: some sets do not fill up with zeros."""
    try:
        clip = open_clip(folder, sensor)
    except ImageError as error:
        raise SettingsError(str(error)) from error
    assert isinstance(clip, ImageClip)
    return ImageClip(sensor, tuple(sorted(clip.files, key=_by_number)), is_folder=True)


def _by_number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1, path.stem
