"""A transform of the plane through matches of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["MODELS", "Fit", "apply_homography", "fit_transform"]

MODELS = ("similarity", "affine", "homography")
_FEWEST = {"similarity": 2, "affine": 3, "homography": 4}
_STEPS = 12
_CONFIDENCE = 0.999
_TRIALS = 5000


@dataclass(frozen=True, eq=False)
class Fit:
    """What was fitted.

    Attributes:
        matrix: 3 x 3, takes the source points to the target points.
        inliers: ``(N,)`` bool.
        residual: ``(N,)`` distance of each target point from where its source point is taken, px.
    """

    matrix: np.ndarray
    inliers: np.ndarray
    residual: np.ndarray


def apply_homography(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return where a 3 x 3 matrix takes points ``(..., 2)``, float64."""
    points = np.asarray(points, np.float64)
    taken = points @ matrix[:, :2].T + matrix[:, 2]
    return taken[..., :2] / taken[..., 2:]


def fit_transform(
    source: np.ndarray,
    target: np.ndarray,
    model: str,
    tolerance: float,
    weights: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> Fit | None:
    """Fit by random sampling, then by weighted least squares to what agrees.

    Args:
        source: ``(N, 2)``.
        target: ``(N, 2)``.
        model: One of :data:`MODELS`.
        tolerance: Distance up to which a match counts as right, px of the target.
        weights: ``(N,)`` trust in each match, at least 0; equal if None.
        start: 3 x 3 matrix to begin with instead of the sampling.

    Returns:
        None where too few matches agree to determine the model.
    """
    if len(source) < _FEWEST[model] + 1:
        return None
    matrix = _sampled(source, target, model, tolerance) if start is None else start
    if matrix is None:
        return None
    weights = np.ones(len(source)) if weights is None else weights
    for _ in range(_STEPS):
        residual = _distances(matrix, source, target)
        trust = weights / (1.0 + (residual / tolerance) ** 2) * (residual < 3.0 * tolerance)
        if (trust > 0).sum() < _FEWEST[model] + 1:
            return None
        matrix = _least_squares(source, target, model, trust, matrix)
    residual = _distances(matrix, source, target)
    return Fit(matrix, residual < tolerance, residual)


def _sampled(source: np.ndarray, target: np.ndarray, model: str, tolerance: float) -> np.ndarray | None:
    source, target = np.ascontiguousarray(source, np.float64), np.ascontiguousarray(target, np.float64)
    if model == "homography":
        found, _ = cv2.findHomography(
            source, target, cv2.USAC_MAGSAC, tolerance, maxIters=_TRIALS, confidence=_CONFIDENCE
        )
        return None if found is None or abs(found[2, 2]) < 1e-9 else found / found[2, 2]
    estimate = cv2.estimateAffine2D if model == "affine" else cv2.estimateAffinePartial2D
    options = {"method": cv2.RANSAC, "ransacReprojThreshold": tolerance, "maxIters": _TRIALS}
    found, _ = estimate(source, target, confidence=_CONFIDENCE, **options)
    return None if found is None or not np.isfinite(found).all() else np.vstack([found, (0.0, 0.0, 1.0)])


def _least_squares(
    source: np.ndarray, target: np.ndarray, model: str, weights: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """Solve ``w (a x + b y + c) = w u (g x + h y + 1)`` with the denominator of the step ``before`` divided out.

    Points are shifted and scaled to about [-1, 1] first: the columns would differ by orders of magnitude.
    """
    ours, theirs = _normaliser(source), _normaliser(target)
    (x, y), (u, v) = apply_homography(ours, source).T, apply_homography(theirs, target).T
    now = theirs @ before @ np.linalg.inv(ours)
    one, none = np.ones_like(x), np.zeros_like(x)
    if model == "similarity":
        rows_u, rows_v = [x, -y, one, none], [y, x, none, one]
    else:
        rows_u, rows_v = [x, y, one, none, none, none], [none, none, none, x, y, one]
    if model == "homography":
        rows_u, rows_v = [*rows_u, -u * x, -u * y], [*rows_v, -v * x, -v * y]
    depth = (now[2, 0] * x + now[2, 1] * y + now[2, 2]) / now[2, 2]
    root = np.sqrt(weights) / depth
    design = np.concatenate([np.stack(rows_u, axis=1) * root[:, None], np.stack(rows_v, axis=1) * root[:, None]])
    values = np.linalg.lstsq(design, np.concatenate([u * root, v * root]), rcond=None)[0]
    if model == "similarity":
        a, b, c, d = values
        values = np.array([a, -b, c, b, a, d])
    solved = np.append(values, [0.0, 0.0, 1.0][len(values) - 6 :]).reshape(3, 3)
    matrix = np.linalg.inv(theirs) @ solved @ ours
    return matrix / matrix[2, 2]


def _normaliser(points: np.ndarray) -> np.ndarray:
    centre, spread = points.mean(axis=0), max(float(points.std()), 1e-9)
    return np.array([[1 / spread, 0, -centre[0] / spread], [0, 1 / spread, -centre[1] / spread], [0, 0, 1.0]])


def _distances(matrix: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.linalg.norm(apply_homography(matrix, source) - target, axis=1)
