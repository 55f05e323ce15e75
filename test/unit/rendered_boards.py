"""Calibration boards as two cameras would see them, with exact truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from fusion_ros.alignment.target import Board
from fusion_ros.geometry.cameras import PinholeCamera, Rig

__all__ = ["CHEQUERS", "RIG", "TAGS", "BoardPose", "poses", "render"]

CHEQUERS = Board(8, 6, 0.05)
TAGS = Board(4, 3, 0.1, tags="36h11", gap_m=0.03)
_DOTS_PER_M = 1000
_MARGIN_M = 0.1


def _turned(x: float, y: float, z: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians([x, y, z]))[0]


def _rig() -> Rig:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = _turned(0.8, -1.5, 2.0), (0.07, -0.02, 0.01)
    rgb = PinholeCamera(800, 600, 700.0, 702.0, 402.0, 297.0, (-0.1, 0.03, 0.0005, -0.0004, 0.0))
    return Rig(rgb, PinholeCamera(400, 320, 390.0, 391.0, 197.0, 162.0, (-0.2, 0.06, 0.0, 0.0, 0.0)), pose)


RIG = _rig()


@dataclass(frozen=True, eq=False)
class BoardPose:
    """4 x 4: the board's points into the thermal camera's frame."""

    thermal_from_board: np.ndarray

    def points(self, board: Board) -> np.ndarray:
        """Corners in the thermal camera's frame."""
        return board.points @ self.thermal_from_board[:3, :3].T + self.thermal_from_board[:3, 3]

    def pixels(self, board: Board) -> tuple[np.ndarray, np.ndarray]:
        """Where the corners truly are: RGB pixels, thermal pixels."""
        points = self.points(board)
        seen = points @ RIG.rgb_from_thermal[:3, :3].T + RIG.rgb_from_thermal[:3, 3]
        return RIG.rgb.project(seen), RIG.thermal.project(points)


def poses(board: Board, count: int, distance_m: float = 1.3, tilt_deg: float = 25.0) -> list[BoardPose]:
    """Boards at different places, tilts and distances (within a quarter of ``distance_m``)."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        tilt = random.uniform(-tilt_deg, tilt_deg, 3) * (1.0, 1.0, 0.4)
        distance = distance_m * random.uniform(0.85, 1.15)
        place = np.array([random.uniform(-0.15, 0.15), random.uniform(-0.1, 0.1), 1.0]) * distance
        pose = np.eye(4)
        pose[:3, :3] = _turned(*tilt)
        pose[:3, 3] = place - pose[:3, :3] @ board.points.mean(axis=0)
        found.append(BoardPose(pose))
    return found


def render(
    board: Board, pose: BoardPose, camera: str, *, inverted: bool = False, upside_down: bool = False
) -> np.ndarray:
    """Return what a camera (``rgb`` or ``thermal``) sees of a board before grey, uint8, with blur and noise.

    Each pixel's ray is followed to the board, through the lens. ``upside_down`` turns each tag in its place.
    """
    lens = getattr(RIG, camera)
    camera_from_thermal = RIG.rgb_from_thermal if camera == "rgb" else np.eye(4)
    camera_from_board = camera_from_thermal @ pose.thermal_from_board
    plane = np.linalg.inv(camera_from_board[:3, [0, 1, 3]])
    print_from_board = _DOTS_PER_M * _MARGIN_M
    places = _rays(camera) @ plane.T
    places = (places[..., :2] / places[..., 2:]) * _DOTS_PER_M + print_from_board
    picture = _print(board, upside_down)
    shrinks = _DOTS_PER_M * pose.thermal_from_board[2, 3] / lens.fx  # dots in a pixel
    smooth = cv2.GaussianBlur(picture, (0, 0), max(0.5, 0.5 * shrinks))
    # Dot i covers i to i + 1 of the print.
    x, y = (places[..., axis].astype(np.float32) - 0.5 for axis in (0, 1))
    seen = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=130)
    seen = 255 - seen if inverted else seen
    noise = np.random.default_rng(1).normal(0.0, 2.0, seen.shape)
    return np.clip(40 + seen * 0.65 + noise, 0, 255).astype(np.uint8)


@lru_cache
def _rays(camera: str) -> np.ndarray:
    lens = getattr(RIG, camera)
    return lens.rays(lens.pixel_grid())


@lru_cache
def _print(board: Board, upside_down: bool) -> np.ndarray:
    """Return the board's print: its origin lies a margin from the upper left corner."""
    margin, side = round(_MARGIN_M * _DOTS_PER_M), round(board.square_m * _DOTS_PER_M)
    if not board.tags:
        # The first inner corner is the origin: the outer squares lie within the margin.
        height, width = ((n - 1) * side + 2 * margin for n in (board.rows, board.columns))
        rows, columns = ((np.arange(n) - margin) // side for n in (height, width))
        black = (rows[:, None] + columns[None, :]) % 2 == 0
        on_rows, on_columns = (
            _on_board(values, n) for values, n in ((rows, board.rows), (columns, board.columns))
        )
        return np.where(black & on_rows[:, None] & on_columns[None, :], 10, 245).astype(np.uint8)
    words = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_APRILTAG_{board.tags}"))
    pitch = round((board.square_m + board.gap_m) * _DOTS_PER_M)
    size = ((n - 1) * pitch + side + 2 * margin for n in (board.rows, board.columns))
    picture = np.full(tuple(size), 245, np.uint8)
    for number in range(board.columns * board.rows):
        top, left = margin + pitch * (number // board.columns), margin + pitch * (number % board.columns)
        picture[top : top + side, left : left + side] = np.rot90(_tag(words, number, side), 2 * upside_down)
    return picture


def _on_board(values: np.ndarray, corners: int) -> np.ndarray:
    """Tell which squares belong to a board of so many inner corners: one more on each side."""
    return (values >= -1) & (values <= corners - 1)


def _tag(words: object, number: int, side: int) -> np.ndarray:
    if hasattr(cv2.aruco, "generateImageMarker"):
        return cv2.aruco.generateImageMarker(words, number, side)
    return cv2.aruco.drawMarker(words, number, side)
