"""How a target moves: a constant-velocity Kalman filter over its centre and its size.

The axes are independent of one another: x, y and the logarithm of the size each have a position and a velocity,
driven by white noise in the acceleration. Source: Bar-Shalom, Li and Kirubarajan, "Estimation with Applications
to Tracking and Navigation", 2001, section 6.2.2 (continuous white noise acceleration).
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Motion"]

# In sizes of the target, the root of its area: what is near moves faster across the image and is larger too.
_POSITION_NOISE = 0.03  # of a confident measurement; the features' cells and a filter's drift
_SIZE_NOISE = 0.05  # of the logarithm of the size
_ACCELERATION = 2.0  # sizes / s^2 / sqrt(Hz): a person who turns round within half a second
_GROWTH_ACCELERATION = 0.2
_START_SPEED = 2.0  # sizes / s, standard deviation where nothing is known
_START_GROWTH = 0.3  # 1 / s
_LONGEST_S = 1.0  # a velocity says nothing of a time further away than this
_GROWTH_MEMORY_S = 0.5  # a growth fades: no target goes on doubling while it is hidden


class Motion:
    """Predicts and filters ``(x, y, log size)``.

    Args:
        centre: ``(x, y)`` in pixels.
        size: Root of the box's area, in pixels.
        stamp_ns: Of the frame in which that was so.
    """

    def __init__(self, centre: tuple[float, float], size: float, stamp_ns: int) -> None:
        self._stamp_ns = stamp_ns
        self._state = np.array([[*centre, math.log(size)], [0.0, 0.0, 0.0]])  # positions, velocities
        scale = np.array([size, size, 1.0])
        self._covariance = np.zeros((3, 2, 2))
        self._covariance[:, 0, 0] = (scale * [_POSITION_NOISE, _POSITION_NOISE, _SIZE_NOISE]) ** 2
        self._forget_velocity()

    @property
    def centre(self) -> tuple[float, float]:
        """``(x, y)`` in pixels."""
        return float(self._state[0, 0]), float(self._state[0, 1])

    @property
    def size(self) -> float:
        """Root of the box's area, in pixels."""
        return math.exp(self._state[0, 2])

    @property
    def spread(self) -> float:
        """Standard deviation of the centre along an axis, in pixels."""
        return math.sqrt(float(self._covariance[:2, 0, 0].max()))

    def predict(self, stamp_ns: int) -> None:
        """Go on to another time; back in time nothing is known of the velocity, and it starts from zero."""
        elapsed = (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        if elapsed < 0.0:
            self._forget_velocity()
            return
        # Over a gap the target is followed for a while and then looked for all around.
        time = min(elapsed, _LONGEST_S)
        self._state[0] += time * self._state[1]
        self._state[1, 2] *= math.exp(-elapsed / _GROWTH_MEMORY_S)
        step = np.array([[1.0, time], [0.0, 1.0]])
        density = np.array([_ACCELERATION * self.size, _ACCELERATION * self.size, _GROWTH_ACCELERATION]) ** 2
        noise = np.array([[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]])
        self._covariance = step @ self._covariance @ step.T + density[:, None, None] * noise

    def correct(self, centre: tuple[float, float], size: float, confidence: float) -> None:
        """Take in a measurement; its standard deviation grows with the inverse of the confidence."""
        scale = np.array([_POSITION_NOISE * size, _POSITION_NOISE * size, _SIZE_NOISE])
        noise = (scale / max(confidence, 1e-3)) ** 2
        gain = self._covariance[:, :, 0] / (self._covariance[:, 0, 0] + noise)[:, None]  # (3, 2)
        self._state += gain.T * (np.array([*centre, math.log(size)]) - self._state[0])
        self._covariance -= gain[:, :, None] * self._covariance[:, None, 0, :]

    def halt(self) -> None:
        """Stand still from now on."""
        self._state[1] = 0.0
        self._covariance[:, 0, 1] = self._covariance[:, 1, 0] = self._covariance[:, 1, 1] = 0.0

    def _forget_velocity(self) -> None:
        size = self.size
        self._state[1] = 0.0
        self._covariance[:, 0, 1] = self._covariance[:, 1, 0] = 0.0
        self._covariance[:, 1, 1] = np.array([_START_SPEED * size, _START_SPEED * size, _START_GROWTH]) ** 2
