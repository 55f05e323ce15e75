"""Pieces of a feature map, resampled to a given number of samples around any place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["sample", "samples"]


def sample(
    values: np.ndarray, centre: tuple[float, float], pitch: tuple[float, float], shape: tuple[int, int]
) -> np.ndarray:
    """Return one piece of a map, ``(rows, columns, C)``; as :func:`samples`."""
    return samples(values, centre, [pitch], shape)[0]


def samples(
    values: np.ndarray,
    centre: tuple[float, float],
    pitches: Sequence[tuple[float, float]] | np.ndarray,
    shape: tuple[int, int],
) -> np.ndarray:
    """Return pieces of a map around one place, interpolated linearly.

    Beyond its border the map goes on as it ends. Where samples are further apart than cells, each is the average
    of those around it, weighted by a triangle of twice the distance between samples, so that nothing finer than
    them is folded into them.

    Args:
        values: ``(h, w, C)`` float32.
        centre: ``(x, y)`` in cells, of the middle of each piece.
        pitches: ``(S, 2)``, for each piece the distance between samples across and down, in cells.
        shape: ``(rows, columns)`` of samples of each piece.

    Returns:
        ``(S, rows, columns, C)`` float32.
    """
    across_pitch, down_pitch = np.asarray(pitches, np.float64).T
    down, rows = _weights(values.shape[0], centre[1], down_pitch, shape[0])
    across, columns = _weights(values.shape[1], centre[0], across_pitch, shape[1])
    piece = values[rows, columns]
    # Many small products instead of one large: for a large one a matrix library starts threads, which on a busy
    # machine wait for one another longer than all this takes.
    lines = down.reshape(-1, down.shape[2]) @ piece.transpose(1, 0, 2)
    lines = lines.reshape(-1, *down.shape[:2], values.shape[2]).transpose(1, 2, 0, 3)  # (S, rows, n, C)
    return across[:, None] @ lines


def _weights(length: int, centre: float, pitch: np.ndarray, count: int) -> tuple[np.ndarray, slice]:
    """Weights ``(S, count, n)`` of cells that samples along one axis are made of, and which cells these are."""
    steps = np.arange(count) - (count - 1) / 2
    places = np.clip(centre + steps * pitch[:, None], 0.0, length - 1.0)
    reach = np.maximum(1.0, pitch)[:, None]
    first = max(0, int(np.ceil((places - reach).min())))
    last = min(length - 1, int(np.floor((places + reach).max())))
    distances = np.abs(places[:, :, None] - np.arange(first, last + 1))
    weights = np.maximum(0.0, 1.0 - distances / reach[:, :, None])
    weights /= weights.sum(axis=2, keepdims=True)
    return weights.astype(np.float32), slice(first, last + 1)
