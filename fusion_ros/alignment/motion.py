"""Motion models of a whole image: translation, similarity, affine map, homography; fitted to local evidence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .evidence import Evidence

__all__ = ["MOTION_MODELS", "fitted", "motion_flow", "motion_of"]


def _units(*cells: tuple[int, int]) -> np.ndarray:
    """3x3 matrices with a one in a cell each."""
    units = np.zeros((len(cells), 3, 3))
    for unit, cell in zip(units, cells, strict=True):
        unit[cell] = 1.0
    return units


_TRANSLATION = _units((0, 2), (1, 2))
_AFFINE = _units((0, 2), (1, 2), (0, 0), (0, 1), (1, 0), (1, 1))
_SIMILARITY = np.stack(
    [*_TRANSLATION, np.diag([1.0, 1.0, 0.0]), np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])]
)
_HOMOGRAPHY = np.concatenate([_AFFINE, _units((2, 0), (2, 1))])

MOTION_MODELS: Mapping[str, np.ndarray] = MappingProxyType(
    {
        "translation": _TRANSLATION,
        "similarity": _SIMILARITY,
        "affine": _AFFINE,
        "homography": _HOMOGRAPHY,
    }
)
"""By name, poorest first: the directions in which a 3x3 matrix may change, ``(P, 3, 3)``."""

_ITERATIONS = 6
_STEPS = 3  # each is linear in the matrix, which a homography is not
_STIFFNESS = 2e-3  # what no evidence determines stays as it was


def motion_flow(matrix: np.ndarray, size: tuple[int, int], at: tuple[int, int] | None = None) -> np.ndarray:
    """Return the flow ``(h, w, 2)`` float32 of a motion.

    Convention: ``matrix`` takes ``(x, y, 1)`` of the fixed image to the moving one, both counted from the image's
    centre, half its longer side being 1.

    Args:
        matrix: 3x3.
        size: ``(H, W)`` of the image that the matrix is meant for.
        at: ``(h, w)`` of a resized version of it, for the flow there, in its pixels; None for the image itself.
    """
    height, width = size
    rows, columns = at or size
    unit = max(size) / 2
    x = (((np.arange(columns) + 0.5) * (width / columns) - width / 2) / unit)[None, :]
    y = (((np.arange(rows) + 0.5) * (height / rows) - height / 2) / unit)[:, None]
    to_x, to_y, depth = (row[0] * x + (row[1] * y + row[2]) for row in matrix)
    return np.dstack(
        [(to_x / depth - x) * (unit * columns / width), (to_y / depth - y) * (unit * rows / height)]
    ).astype(np.float32)


def motion_of(flow: np.ndarray) -> np.ndarray:
    """Return the homography, as of :func:`motion_flow`, that comes nearest to a flow ``(H, W, 2)``."""
    height, width = flow.shape[:2]
    rows, columns = (np.linspace(0, side - 1, 9).round().astype(int) for side in (height, width))
    x, y = np.meshgrid(columns, rows)
    positions = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float64)
    matrix = np.eye(3)
    for _ in range(_STEPS):
        rest = (flow[y, x] - motion_flow(matrix, (height, width))[y, x]).reshape(-1, 2).astype(np.float64)
        evidence = Evidence(positions, rest, np.tile(np.eye(2), (len(positions), 1, 1)))
        matrix = fitted(matrix, evidence, (height, width), "homography", max(height, width), stiffness=0.0)
    return matrix


def fitted(
    matrix: np.ndarray,
    evidence: Evidence,
    size: tuple[int, int],
    model: str,
    tolerance: float,
    stiffness: float = _STIFFNESS,
) -> np.ndarray:
    """Return the matrix that the evidence asks for, the images having been matched with ``matrix`` applied.

    Weighted least squares, each cell's residual weighted by its precision and, since most cells may be wrong,
    by ``1 / (1 + (r / tolerance)^2)^2`` (Geman and McClure). A little stiffness keeps what no cell determines.

    Args:
        matrix: 3x3 of :func:`motion_flow`.
        evidence: Displacements that remain, in pixels of the whole image.
        size: ``(H, W)`` of the whole image.
        model: One of :data:`MOTION_MODELS`.
        tolerance: Pixels by which a cell that is right may be off.
        stiffness: Resistance against a change of form, as a share of the weight of all the evidence.
    """
    directions = MOTION_MODELS[model]
    unit = max(size) / 2
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    points = np.column_stack([(evidence.positions - centre) / unit, np.ones(len(evidence.positions))])
    moved = points @ matrix.T
    depth = moved[:, 2:]
    now = moved[:, :2] / depth
    change = np.einsum("pij,nj->nip", directions, points)
    slopes = (change[:, :2] - now[:, :, None] * change[:, 2:]) / depth[:, :, None] * unit  # (N, 2, P), px
    # Against changes of form; a translation is free.
    is_form = directions[:, :, :2].any(axis=(1, 2))
    held = np.diag(is_form * (stiffness * unit**2 * np.einsum("nii->", evidence.precisions) / 2))
    form = np.tensordot(directions, matrix - np.eye(3), axes=2) / np.einsum("pij,pij->p", directions, directions)
    step = np.zeros(len(directions))
    for _ in range(_ITERATIONS):
        misfit = evidence.displacements - slopes @ step
        weight = 1.0 / (1.0 + (misfit**2).sum(axis=1) / tolerance**2) ** 2
        precisions = evidence.precisions * weight[:, None, None]
        normal = np.einsum("nip,nij,njq->pq", slopes, precisions, slopes) + held * weight.mean()
        asked = np.einsum("nip,nij,nj->p", slopes, precisions, evidence.displacements)
        asked -= held @ form * weight.mean()
        step = np.linalg.lstsq(normal, asked, rcond=1e-9)[0]
    return matrix + np.tensordot(step, directions, axes=1)
