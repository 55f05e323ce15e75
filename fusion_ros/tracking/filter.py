"""The correlation filter that finds a target within a square around where it is expected.

A discriminative correlation filter of several channels, after three papers:

- Galoogahi, Fagg and Lucey, "Learning background-aware correlation filters for visual tracking" (BACF), ICCV 2017:
  the filter is zero outside the target while it is trained on all shifts of a larger square, so that what lies
  around the target is a true counter-example; solved by the alternating direction method of multipliers (ADMM).
- Li, Tian, Zuo, Zhang and Yang, "Learning spatial-temporal regularized correlation filters for visual tracking"
  (STRCF), CVPR 2018: the filter stays near the one before, eq. 3, and each frequency is solved in closed form by
  the formula of Sherman and Morrison, eq. 8-10.
- Danelljan, Robinson, Khan and Felsberg, "Beyond correlation filters" (C-COT), ECCV 2016, section 4.2: the peak is
  found between samples, by Newton steps on the Fourier series of the response.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft2, rfft2

__all__ = ["CorrelationFilter", "Peak"]

_LABEL_WIDTH = 1 / 16  # of the target's size, the root of its area: how sharp a response is asked for
_LEAST_LABEL_WIDTH = 0.5  # samples; a narrower one is no longer a smooth function of place
_FIRST_ROUNDS, _ROUNDS = 4, 2  # of ADMM; the filter before is a good start
# Of ADMM, in units of the mean power of the features, as published. A smaller one fits the frame at hand better
# and the next ones worse.
_PENALTY, _PENALTY_GROWTH = 1.0, 10.0
_RIDGE = 1e-3  # in these units too: against frequencies of which the first frame says nothing
_FAINT = 0.1  # of the contrast learned: features fainter than that fade out of the response
_NEWTON_STEPS = 4
_NOTHING = 1e-12  # a contrast below it is rounding


class Peak(NamedTuple):
    """Where a filter responds most.

    Attributes:
        shift: ``(x, y)`` from the middle of the patch, in samples, between which it may lie.
        height: Response there; training asks for 1, and its few rounds reach some tenths.
    """

    shift: tuple[float, float]
    height: float


class CorrelationFilter:
    """Learns the middle of patches, and finds it in others.

    Args:
        target: ``(rows, columns)`` that the target covers in a patch, in samples; not necessarily whole.
        shape: ``(rows, columns)`` of every patch.
        learning_rate: Share of the error on a patch, at a frequency of mean power, that learning it takes away.
        core: Part of the target's height and width that the filter may use: what is sure to be the target.
    """

    def __init__(
        self,
        target: tuple[float, float],
        shape: tuple[int, int],
        learning_rate: float,
        core: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self._shape = shape
        self._rate = learning_rate
        y, x = (np.fft.fftfreq(count, 1 / count) for count in shape)
        width = max(_LABEL_WIDTH * math.sqrt(target[0] * target[1]), _LEAST_LABEL_WIDTH)
        self._distances = (y[:, None] ** 2 + x**2).astype(np.float32)  # squared, of the shifts
        label = np.exp(self._distances / np.float32(-2 * width**2))
        self._label = rfft2(label)[:, :, None]
        rows, columns = (np.hanning(count + 2)[1:-1] for count in shape)
        self._window = np.outer(rows, columns).astype(np.float32)[:, :, None]
        rows, columns = (
            _inside(count, part * extent) for count, extent, part in zip(shape, target, core, strict=True)
        )
        self._support = np.outer(rows, columns).astype(np.float32)[:, :, None]
        self._contrast = 0.0
        self._filter: np.ndarray | None = None

    def learn(self, patch: np.ndarray) -> None:
        """Take in a patch ``(rows, columns, C)`` float32 with the target in its middle.

        Minimises ``|sum_c f_c * x_c - y|^2 + m |f - f_before|^2`` over filters inside the support, the first time
        with ``f_before`` zero and a small m.
        """
        windowed, contrast = self._windowed(patch)
        self._contrast += (contrast - self._contrast) * (1.0 if self._filter is None else self._rate)
        spectrum = self._spectrum(windowed, contrast)
        conjugate = spectrum.conj()
        power = _over_channels(conjugate, spectrum).real
        if self._filter is None:
            before, hold, rounds = np.zeros_like(spectrum), _RIDGE, _FIRST_ROUNDS
        else:
            # With m = (1 - rate) / rate a frequency of unit power loses the share ``rate`` of its error.
            before, hold, rounds = self._filter, (1.0 - self._rate) / max(self._rate, 1e-6), _ROUNDS
        asked = spectrum * self._label + np.float32(hold) * before
        inside, dual, penalty = before, np.zeros_like(spectrum), _PENALTY
        for _ in range(rounds):
            right = asked + np.float32(penalty) * (inside - dual)
            ridge = np.float32(hold + penalty)
            free = (right - spectrum * (_over_channels(conjugate, right) / (ridge + power))) / ridge
            inside = rfft2(irfft2(free + dual, s=self._shape, axes=(0, 1)) * self._support, axes=(0, 1))
            dual += free - inside
            penalty *= _PENALTY_GROWTH
        self._filter = inside

    def find(self, patch: np.ndarray, spread: float = math.inf) -> Peak:
        """Return where in a patch ``(rows, columns, C)`` float32 the target is.

        Args:
            patch: As of :meth:`learn`.
            spread: Standard deviation of the target's place about the middle, in samples; the response counts for
                as much as a normal distribution of that leaves of it.

        Raises:
            RuntimeError: Nothing has been learned.
        """
        if self._filter is None:
            raise RuntimeError("the filter has learned nothing: call learn() first")
        spectrum = _over_channels(self._filter.conj(), self._spectrum(*self._windowed(patch)))[:, :, 0]
        response = irfft2(spectrum, s=self._shape)
        likely = response * np.exp(self._distances * (-0.5 / spread**2)) if math.isfinite(spread) else response
        row, column = np.unravel_index(int(likely.argmax()), self._shape)
        y, x = _refined(spectrum, self._shape, float(row), float(column))
        rows, columns = self._shape
        # Shifts beyond half of the patch are shifts to the other side.
        shift = ((x + columns / 2) % columns - columns / 2, (y + rows / 2) % rows - rows / 2)
        return Peak(shift, float(response[row, column]))

    def _windowed(self, patch: np.ndarray) -> tuple[np.ndarray, float]:
        """A patch without its mean, faded out towards its border, and the contrast that is left in it."""
        windowed = (patch - patch.mean(axis=(0, 1))) * self._window
        return windowed, math.sqrt(float(np.square(windowed).sum()) / (self._shape[0] * self._shape[1]))

    def _spectrum(self, windowed: np.ndarray, contrast: float) -> np.ndarray:
        """Spectrum of a patch at unit contrast, so that its power is 1 in the mean over the frequencies."""
        # What is fainter than what was learned stays fainter: to noise alone there is no response.
        scale = (1.0 + _FAINT) / max(contrast + _FAINT * self._contrast, _NOTHING)
        scale /= math.sqrt(self._shape[0] * self._shape[1])
        return rfft2(windowed * np.float32(scale), axes=(0, 1))


def _inside(count: int, extent: float) -> np.ndarray:
    """Share ``(count,)`` of each sample along one axis that lies in an interval around the middle."""
    distance = np.abs(np.arange(count) - (count - 1) / 2)
    return np.clip(extent / 2 + 0.5 - distance, 0.0, 1.0)


def _over_channels(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum of the products over the channels, ``(h, w, 1)``."""
    return np.einsum("ijc,ijc->ij", one, other)[:, :, None]


def _refined(spectrum: np.ndarray, shape: tuple[int, int], row: float, column: float) -> tuple[float, float]:
    """Return the maximum ``(row, column)`` of a Fourier series near a sample, by Newton steps.

    Args:
        spectrum: ``(rows, columns // 2 + 1)`` of :func:`scipy.fft.rfft2`.
        shape: ``(rows, columns)`` of the samples.
        row: Of the highest sample.
        column: Likewise.
    """
    down, across = 2j * math.pi * np.fft.fftfreq(shape[0]), 2j * math.pi * np.fft.rfftfreq(shape[1])
    # Only half of the spectrum is kept: all but its first and, of an even count, last column stand for two.
    twice = np.full(across.shape, 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    y, x = row, column
    for _ in range(_NEWTON_STEPS):
        rows = np.exp(down * y) * np.stack([np.ones_like(down), down, down**2])
        columns = twice * np.exp(across * x) * np.stack([np.ones_like(across), across, across**2])
        series = (rows @ spectrum @ columns.T).real  # [i, j]: i-th derivative down, j-th across
        determinant = series[2, 0] * series[0, 2] - series[1, 1] ** 2
        if determinant <= 0.0 or series[0, 2] >= 0.0:
            break  # no maximum is near
        y -= (series[1, 0] * series[0, 2] - series[0, 1] * series[1, 1]) / determinant
        x -= (series[0, 1] * series[2, 0] - series[1, 0] * series[1, 1]) / determinant
    return (y, x) if max(abs(y - row), abs(x - column)) <= 1.0 else (row, column)
