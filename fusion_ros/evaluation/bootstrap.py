"""The interval of a mean over frames, where neighbouring frames are not independent.

Frames are drawn anew from each source on its own (stratified), still images one by one, sequences in blocks
of neighbours, so that what neighbours share stays in the resampled series. The interval is the percentile
interval, widened for small numbers: a plain one is too narrow by the factor ``sqrt((n - 1) / n)`` and uses
the normal where Student's distribution is due. BCa corrects for skewness, which averages out of a mean, and
leaves both of these errors, so it was not chosen.

Sources:
    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13: blocks, percentiles.
    Künsch, Annals of Statistics 17, 1989: moving blocks.
    Politis, Romano, in "Exploring the Limits of Bootstrap", 1992: blocks on a circle, so that the first and last
        frames count as much as the others.
    Carlstein, Annals of Statistics 14, 1986; Politis, White, Econometric Reviews 23, 2004: length of the blocks.
    Lazarus et al., J. Business & Economic Statistics 36, 2018: why longer.
    Hesterberg, The American Statistician 69, 2015, section 5.3: the widening.
    Rao, Wu, J. American Statistical Association 83, 1988: rescaling within strata.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["Interval", "Stratum", "block_length", "mean_interval"]

_RESAMPLES = 4000
_DRAWS_AT_ONCE = 2_000_000
_LEAST_BLOCKS = 4
_LARGEST_CORRELATION = 0.98
_ANGLES = 8000
_NORMAL_FROM = 1e4  # degrees of freedom from which Student's distribution is the normal one


@dataclass(frozen=True, eq=False)
class Stratum:
    """Values of one source.

    Attributes:
        values: ``(n,)`` float64, finite, in order of time.
        is_sequence: Neighbours are not independent.
    """

    values: np.ndarray
    is_sequence: bool = False


@dataclass(frozen=True)
class Interval:
    """Where a mean lies.

    Attributes:
        low: Lower end; NaN where there are too few values to say.
        high: Upper end.
        p_value: The smallest error level at which the interval excludes 0; NaN with the ends.
    """

    low: float
    high: float
    p_value: float


def mean_interval(strata: Sequence[Stratum], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the interval of the mean over all values, each value counting alike.

    Sources with a single value are taken together as one stratum, because one value alone says nothing of
    how far it might have been elsewhere.

    Args:
        strata: Values by source; empty ones count nothing.
        confidence: Share of cases in which such intervals hold the true mean.
        seed: Of the resampling; equal seeds give equal intervals.
    """
    strata = _collapsed([stratum for stratum in strata if len(stratum.values)])
    total = sum(len(stratum.values) for stratum in strata)
    deviation, freedom = np.zeros(_RESAMPLES), 0.0
    rng = np.random.default_rng(seed)
    for stratum in strata:
        if len(stratum.values) < 2:
            continue
        length = block_length(stratum.values) if stratum.is_sequence else 1
        blocks = len(stratum.values) / length
        sums = _resampled_sums(stratum.values - stratum.values.mean(), length, rng)
        deviation += sums * math.sqrt(blocks / (blocks - 1.0)) / total
        freedom += blocks - 1.0
    if freedom < 1.0:
        return Interval(math.nan, math.nan, math.nan)
    mean = sum(float(stratum.values.sum()) for stratum in strata) / total
    tail = NormalDist().cdf(-_student_quantile(0.5 + confidence / 2.0, freedom))
    low, high = mean + np.quantile(deviation, [tail, 1.0 - tail])
    return Interval(float(low), float(high), _p_value(mean, deviation, freedom))


def block_length(values: np.ndarray) -> int:
    """Return how many neighbouring frames are drawn together.

    ``max(1, 2 (sqrt(6) r / (1 - r^2))^(2/3)) n^(1/3)``: twice the length with the least mean squared error of
    the variance in an autoregressive series of order one, because blocks that are too short make intervals
    too narrow, while the small number of long ones is allowed for by Student's distribution. The correlation
    ``r`` of neighbours is estimated from the values and corrected by ``(1 + 3 r) / n``, its bias. Never less
    than the rule of thumb ``n^(1/3)``, and at most a quarter of the series: where frames hang together longer
    than that, no length helps, and the interval is too narrow.

    Args:
        values: ``(n,)`` in order of time.
    """
    count = len(values)
    centred = values - values.mean()
    power = float(centred @ centred)
    correlation = float(centred[1:] @ centred[:-1]) / power if power > 0.0 else 0.0
    correlation = min(correlation + (1.0 + 3.0 * correlation) / count, _LARGEST_CORRELATION)
    memory = (math.sqrt(6.0) * max(correlation, 0.0) / (1.0 - correlation**2)) ** (2.0 / 3.0)
    return max(1, min(round(max(1.0, 2.0 * memory) * count ** (1.0 / 3.0)), count // _LEAST_BLOCKS))


def _collapsed(strata: Sequence[Stratum]) -> list[Stratum]:
    single = [stratum.values for stratum in strata if len(stratum.values) == 1]
    rest = [stratum for stratum in strata if len(stratum.values) > 1]
    return [*rest, Stratum(np.concatenate(single))] if single else rest


def _resampled_sums(values: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sums of resampled series, each as long as ``values``, made of blocks on a circle."""
    count = len(values)
    running = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
    whole, rest = divmod(count, length)
    of_block = running[length : length + count] - running[:count]
    of_rest = running[rest : rest + count] - running[:count]
    sums = np.empty(_RESAMPLES)
    step = max(1, _DRAWS_AT_ONCE // (whole + 1))
    for first in range(0, _RESAMPLES, step):
        rows = min(step, _RESAMPLES - first)
        starts = rng.integers(0, count, size=(rows, whole + 1))
        sums[first : first + rows] = of_block[starts[:, :-1]].sum(axis=1) + of_rest[starts[:, -1]]
    return sums


def _p_value(mean: float, deviation: np.ndarray, freedom: float) -> float:
    """Return the level at which the end of the interval meets 0.

    Beyond the outermost resample the distribution of the mean is taken as normal.
    """
    if mean == 0.0:
        return 1.0
    beyond = np.count_nonzero((mean + deviation) * np.sign(mean) <= 0.0) / _RESAMPLES
    spread = float(deviation.std())
    if beyond > 0.0:
        score = -NormalDist().inv_cdf(beyond) if beyond < 1.0 else 0.0
    else:
        score = abs(mean) / spread if spread > 0.0 else math.inf
    return 2.0 * (1.0 - _student_cdf(score, freedom)) if score > 0.0 else 1.0


def _student_table(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return angles ``atan(t / sqrt(freedom))`` and ``P(|T| < t)``, an integral of ``cos^(freedom - 1)``."""
    angle = np.linspace(0.0, np.pi / 2.0, _ANGLES + 1)
    density = np.cos(angle[:-1] + angle[1] / 2.0) ** (freedom - 1.0)
    inside = np.concatenate([[0.0], np.cumsum(density)])
    return angle, inside / inside[-1]


def _student_cdf(t: float, freedom: float) -> float:
    if freedom >= _NORMAL_FROM:
        return NormalDist().cdf(t)
    angle, inside = _student_table(freedom)
    return 0.5 + 0.5 * float(np.interp(math.atan(t / math.sqrt(freedom)), angle, inside))


def _student_quantile(share: float, freedom: float) -> float:
    """Return t with ``P(T < t) = share``, for a share above 0.5."""
    if freedom >= _NORMAL_FROM:
        return NormalDist().inv_cdf(share)
    angle, inside = _student_table(freedom)
    return math.sqrt(freedom) * math.tan(float(np.interp(2.0 * share - 1.0, inside, angle)))
