"""Calibration boards: a chequerboard or a grid of AprilTags, found in RGB and in thermal images.

A thermal camera may show a board inverted: in the sun, what is printed black is warmer. Both are tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import CalibrationError, nearest_name
from .matching.fitting import apply_homography

__all__ = ["TAG_FAMILIES", "Board", "BoardView", "Sighting", "find_board", "pair_sightings"]

TAG_FAMILIES = ("16h5", "25h9", "36h10", "36h11")
_SMALL = 500  # px: images narrower than this are doubled, since detectors need some pixels for a square
_REFINED = 0.25  # of the distance between corners: half the window in which a corner is refined
_FEWEST_TAGS = 2


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        columns: Inner corners (chequerboard) or tags along its x axis.
        rows: The same along its y axis.
        square_m: Side of a square or of a tag's black border, metres.
        tags: Family of the AprilTags, one of :data:`TAG_FAMILIES`, numbered row by row; empty: a chequerboard.
        gap_m: Between two tags, metres.

    Raises:
        CalibrationError: A size cannot be.
    """

    columns: int
    rows: int
    square_m: float
    tags: str = ""
    gap_m: float = 0.0

    def __post_init__(self) -> None:
        least = 1 if self.tags else 3
        if min(self.columns, self.rows) < least:
            kind = "tags" if self.tags else "inner corners"
            raise CalibrationError(
                f"expected a board of at least {least} x {least} {kind}, got {self.columns} x {self.rows}"
            )
        if not self.square_m > 0 or (self.tags and not self.gap_m > 0):
            raise CalibrationError(
                "expected a positive side of the squares, and between tags a positive gap, in metres, "
                f"got {self.square_m!r} and {self.gap_m!r}"
            )
        if self.tags and self.tags not in TAG_FAMILIES:
            raise CalibrationError(f"no AprilTag family {self.tags!r}; {nearest_name(self.tags, TAG_FAMILIES)}")

    @property
    def points(self) -> np.ndarray:
        """``(N, 3)`` corners in the board's frame (x along a row, y down, z into it), metres, by their number."""
        rows, columns = np.mgrid[: self.rows, : self.columns]
        places = np.stack([columns, rows, np.zeros_like(rows)], axis=-1).reshape(-1, 3).astype(np.float64)
        if not self.tags:
            return places * self.square_m
        corners = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], np.float64) * self.square_m
        return (places[:, None] * (self.square_m + self.gap_m) + corners).reshape(-1, 3)


@dataclass(frozen=True, eq=False)
class Sighting:
    """Corners of a board in one image.

    Attributes:
        numbers: ``(M,)`` int, which corners: indices into :attr:`Board.points`.
        pixels: ``(M, 2)`` float64, ``(x, y)``.
    """

    numbers: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class BoardView:
    """A board as both cameras saw it at one moment.

    Attributes:
        points: ``(M, 3)`` corners in the board's frame, metres.
        rgb: ``(M, 2)`` pixels of the RGB image.
        thermal: ``(M, 2)`` pixels of the thermal image.
    """

    name: str
    points: np.ndarray
    rgb: np.ndarray
    thermal: np.ndarray


def find_board(image: np.ndarray, board: Board) -> Sighting | None:
    """Find a board, as it is or inverted.

    Args:
        image: ``(H, W)`` uint8.

    Raises:
        CalibrationError: Tags are looked for with an OpenCV that lacks its aruco module.
    """
    factor = 2 if image.shape[1] < _SMALL else 1
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else image
    find = _find_tags if board.tags else _find_corners
    for seen in (large, 255 - large):
        found = find(seen, board)
        if found is not None:
            return Sighting(found.numbers, (found.pixels + 0.5) / factor - 0.5)
    return None


def pair_sightings(name: str, rgb: Sighting, thermal: Sighting, board: Board) -> BoardView | None:
    """Return the corners that both cameras saw; None where they have too few in common.

    A chequerboard does not tell its two ends apart, a square one not even its sides, least of all inverted: the
    order is taken in which it is the same way up in both images.
    """
    numbers, ours, theirs = np.intersect1d(rgb.numbers, thermal.numbers, return_indices=True)
    if len(numbers) < 4:
        return None
    pixels = thermal.pixels[theirs]
    if not board.tags:
        pixels = _turned_like(rgb.pixels[ours], pixels, board)
    return BoardView(name, board.points[numbers], rgb.pixels[ours], pixels)


def _turned_like(rgb: np.ndarray, thermal: np.ndarray, board: Board) -> np.ndarray:
    """Return a chequerboard's thermal corners in the order in which its rows and columns run as in RGB."""
    grids = [pixels.reshape(board.rows, board.columns, 2) for pixels in (rgb, thermal)]
    turns = range(4) if board.rows == board.columns else (0, 2)

    def directions(grid: np.ndarray) -> np.ndarray:
        return np.stack([np.diff(grid, axis=axis).mean(axis=(0, 1)) for axis in (0, 1)])

    wanted = directions(grids[0])
    turned = [np.rot90(grids[1], turn) for turn in turns]
    return max(turned, key=lambda grid: float((directions(grid) * wanted).sum())).reshape(-1, 2)


def _find_corners(image: np.ndarray, board: Board) -> Sighting | None:
    size = (board.columns, board.rows)
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    found, corners = cv2.findChessboardCorners(image, size, flags=flags)
    if not found:
        found, corners = cv2.findChessboardCornersSB(image, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if not found:
        return None
    corners = corners.reshape(board.rows, board.columns, 2)
    sides = [np.linalg.norm(np.diff(corners, axis=axis), axis=2).min() for axis in (0, 1)]
    half = max(2, int(_REFINED * min(sides)))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3)
    start = np.ascontiguousarray(corners.reshape(-1, 1, 2), np.float32)
    refined = cv2.cornerSubPix(image, start, (half, half), (-1, -1), stop)
    return Sighting(np.arange(board.columns * board.rows), refined.reshape(-1, 2).astype(np.float64))


def _find_tags(image: np.ndarray, board: Board) -> Sighting | None:
    corners, identities = _detect(image, board.tags)
    known = [(int(i), c) for i, c in zip(identities, corners, strict=True) if i < board.columns * board.rows]
    if len(known) < min(_FEWEST_TAGS, board.columns * board.rows):
        return None
    numbers = np.concatenate([4 * identity + np.arange(4) for identity, _ in known])
    pixels = np.concatenate([corner.reshape(4, 2) for _, corner in known]).astype(np.float64)
    # The makers' pictures of the tags are upside down against the dictionaries of OpenCV: either may be printed.
    if len(known) > 1:  # a single tag fits either way
        numbers = min((numbers, numbers // 4 * 4 + (numbers + 2) % 4), key=lambda n: _misfit(n, pixels, board))
    order = np.argsort(numbers)
    return Sighting(numbers[order], pixels[order])


def _misfit(numbers: np.ndarray, pixels: np.ndarray, board: Board) -> float:
    """Return the median distance, px, of corners from where one homography of the flat board puts them."""
    points = board.points[numbers, :2]
    matrix, _ = cv2.findHomography(points, pixels)
    if matrix is None:
        return np.inf
    return float(np.median(np.linalg.norm(apply_homography(matrix, points) - pixels, axis=1)))


def _detect(image: np.ndarray, family: str) -> tuple[Any, list[int]]:
    """Return corners and numbers of the tags, with whichever interface this OpenCV has."""
    aruco = getattr(cv2, "aruco", None)
    if aruco is None:
        raise CalibrationError(
            f"OpenCV {cv2.__version__} was built without its aruco module; install opencv-python 4.7 or newer"
        )
    words = aruco.getPredefinedDictionary(getattr(aruco, f"DICT_APRILTAG_{family}"))
    is_new = hasattr(aruco, "ArucoDetector")
    parameters = aruco.DetectorParameters() if is_new else aruco.DetectorParameters_create()
    parameters.cornerRefinementMethod = aruco.CORNER_REFINE_SUBPIX
    if is_new:
        corners, identities, _ = aruco.ArucoDetector(words, parameters).detectMarkers(image)
    else:
        corners, identities, _ = aruco.detectMarkers(image, words, parameters=parameters)
    return corners, [] if identities is None else identities.ravel().tolist()
