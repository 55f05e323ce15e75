"""The public sets of RGB and thermal tracking sequences.

How each looks on disk was checked against its makers' files and evaluation tools. All count columns and rows from
0, though MATLAB tools wrote some of them: boxes of GTOT, RGBT234 and LasHeR begin at 0, and RGBT234's reach to
``x + width = 630`` in images of 630 columns. Nothing is shifted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SettingsError
from .base import SequenceSet
from .truth import bounds_of_corners, read_rows

__all__ = ["Gtot", "Lasher", "Rgbt234", "VotRgbt", "Vtuav"]


class Gtot(SequenceSet):
    """GTOT (Li et al., "Learning Collaborative Sparse Representation for Grayscale-thermal Tracking", TIP 2016).

    A row of ``groundTruth_v.txt`` holds two corners; its width is their difference, as in the set's ``init.txt``.
    The set's attributes come with its evaluation tools as a MATLAB file only, and are not read.
    """

    name = "gtot"
    title = "GTOT, 50 grey and thermal sequences"
    tree = """\
  <root>/
    <sequence>/
      v/  00001v.png ...    i/  00001i.png ...
      groundTruth_v.txt     x1 y1 x2 y2 a frame"""
    rgb_folder, thermal_folder = "v", "i"
    truth_files = ("groundTruth_v.txt",)

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the boxes of rows of corners; see :meth:`SequenceSet.boxes`."""
        return bounds_of_corners(self._columns(rows).tolist())


class Rgbt234(SequenceSet):
    """RGBT234 (Li et al., "RGB-T Object Tracking: Benchmark and Baseline", Pattern Recognition 2019).

    Each camera has its own boxes; those of the visible camera are read, and else ``init.txt``, which is the same
    but for a few frames. RGBT210 has the same layout, with ``init.txt`` alone. Attributes are the names of the
    files in ``attr_txt`` that hold a 1 on the line where ``SequencesName.txt`` has the sequence.
    """

    name = "rgbt234"
    title = "RGBT234, 234 sequences (and RGBT210)"
    tree = """\
  <root>/
    <sequence>/
      visible/  00001v.jpg ...    infrared/  00001i.jpg ...
      visible.txt (or init.txt)   x,y,width,height a frame
    attr_txt/                     SequencesName.txt, BC.txt, CM.txt ...: not needed; also beside <root>"""
    rgb_folder, thermal_folder = "visible", "infrared"
    truth_files = ("visible.txt", "init.txt")

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the rows as they are; see :meth:`SequenceSet.boxes`."""
        return self._columns(rows)

    def attributes(self, root: Path, folder: Path) -> frozenset[str]:
        """Return the attributes of a sequence; see :meth:`SequenceSet.attributes`."""
        place = _beside(root, "attr_txt")
        if place is None or not (place / "SequencesName.txt").is_file():
            return frozenset()
        names = (place / "SequencesName.txt").read_text().split()
        if folder.name not in names:
            return frozenset()
        row = names.index(folder.name)
        files = (path for path in place.glob("*.txt") if path.stem != "SequencesName")
        return frozenset(path.stem for path in files if _flags(path, len(names))[row])


class Lasher(SequenceSet):
    """LasHeR (Li et al., "LasHeR: A Large-scale High-diversity Benchmark for RGBT Tracking", TIP 2022).

    One box holds for both cameras. A box without width or height means that the target is out of sight.
    """

    name = "lasher"
    title = "LasHeR, 1224 sequences"
    tree = """\
  <root>/
    trainingset/ and testingset/    (or one of them)
      <sequence>/
        visible/  v000000.jpg ...   infrared/  i000000.jpg ...
        visible.txt (or init.txt)   x,y,width,height a frame
    AttriSeqsTxt/<sequence>.txt     not needed, with Attributes_order.txt; also beside <root>"""
    rgb_folder, thermal_folder = "visible", "infrared"
    truth_files = ("visible.txt", "init.txt")
    keeps_part = True

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the rows as they are; see :meth:`SequenceSet.boxes`."""
        return self._columns(rows)

    def attributes(self, root: Path, folder: Path) -> frozenset[str]:
        """Return the attributes of a sequence; see :meth:`SequenceSet.attributes`."""
        flags, order = _beside(root, f"AttriSeqsTxt/{folder.name}.txt"), _beside(root, "Attributes_order.txt")
        if flags is None or order is None:
            return frozenset()
        names = [name.strip() for name in order.read_text().split(",")]
        return frozenset(name for name, flag in zip(names, _flags(flags, len(names)), strict=True) if flag)


class Vtuav(SequenceSet):
    """VTUAV (Zhang et al., "Visible-Thermal UAV Tracking: A Large-Scale Benchmark and New Baseline", CVPR 2022).

    Every tenth frame has a box, counted from the first image that is there; frames in between have no truth.
    """

    name = "vtuav"
    title = "VTUAV, 500 sequences from a drone"
    tree = """\
  <root>/
    train/, test_ST/ ...     (folders of sequences, one or two deep)
      <sequence>/
        rgb/  000000.jpg ...    ir/  000000.jpg ...
        rgb.txt                 x y width height for every tenth frame"""
    rgb_folder, thermal_folder = "rgb", "ir"
    truth_files = ("rgb.txt",)
    step = 10
    keeps_part = True

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return the first four numbers of each row; see :meth:`SequenceSet.boxes`."""
        return self._columns(rows)


class VotRgbt(SequenceSet):
    """VOT-RGBT 2019 and 2020 (Kristan et al., "The Seventh Visual Object Tracking VOT2019 Challenge Results").

    60 sequences of RGBT234 with rotated boxes. A polygon becomes the axis-aligned box that bounds its corners, as
    where the VOT toolkit makes a rectangle of a region. A sequence has an attribute where a line of its ``.tag``
    file is 1.
    """

    name = "vot_rgbt"
    title = "VOT-RGBT 2019 and 2020, 60 sequences"
    tree = """\
  <root>/
    <sequence>/
      color/  00000001.jpg ...    ir/  00000001i.jpg ...
      groundtruth.txt             corners x1,y1,x2,y2,x3,y3,x4,y4 or x,y,width,height a frame
      *.tag, sequence             not needed: attributes, and fps"""
    rgb_folder, thermal_folder = "color", "ir"
    truth_files = ("groundtruth.txt",)

    def boxes(self, rows: list[list[float]]) -> np.ndarray:
        """Return rectangles as they are, and the bounds of polygons; see :meth:`SequenceSet.boxes`."""
        polygons = bounds_of_corners(rows)
        return np.array([row if len(row) == 4 else box for row, box in zip(rows, polygons, strict=True)])

    def attributes(self, root: Path, folder: Path) -> frozenset[str]:
        """Return the attributes of a sequence; see :meth:`SequenceSet.attributes`."""
        return frozenset(path.stem for path in folder.glob("*.tag") if "1" in path.read_text().split())

    def rate_of(self, folder: Path) -> float:
        """Return what the file ``sequence`` says, or 30 a second; see :meth:`SequenceSet.rate_of`."""
        file = folder / "sequence"
        lines = file.read_text().splitlines() if file.is_file() else []
        said = next((line.partition("=")[2] for line in lines if line.startswith("fps=")), "")
        try:
            return float(said) if said else self.rate_hz
        except ValueError:
            raise SettingsError(f"{file}: expected a number of frames a second, got fps={said}") from None


def _beside(root: Path, name: str) -> Path | None:
    """Return what has a name in the root, or beside it."""
    return next((place / name for place in (root, root.parent) if (place / name).exists()), None)


def _flags(path: Path, count: int) -> list[bool]:
    flags = [number == 1 for row in read_rows(path) for number in row]
    if len(flags) != count:
        raise SettingsError(f"{path}: expected {count} numbers, 0 or 1, got {len(flags)}; copy the file again")
    return flags
