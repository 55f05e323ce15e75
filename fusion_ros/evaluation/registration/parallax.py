"""What two cameras side by side leave to be aligned: how far an answer is from the exact flow, by distance.

A rendered pair's depth is known at every pixel, and with it where the coarse alignment has put what the pixel
shows. So the answer is held against the truth itself, pixel by pixel, and every pixel has a distance to be sorted
by. Each pair counts alike, however many of its pixels are at a distance.

Most of a street is asphalt, wall and sky, where there is nothing to match and nobody sees a misalignment. So
errors are taken twice: everywhere, and on outlines that both cameras see, which a fused image shows doubled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from ...alignment.calibration_rig import GroundSettings
from ...geometry.cameras import Rig
from ...geometry.projection import facing_plane
from ...geometry.warp import flow_positions, valid_mask, warp_by_flow
from ...synthetic import Truth
from ..bootstrap import Stratum, mean_interval

__all__ = [
    "CURVE",
    "EVERYWHERE",
    "FEWEST",
    "OUTLINES",
    "TABLE",
    "WHOLE",
    "Parallax",
    "ParallaxRecord",
    "ParallaxSummary",
    "Span",
    "parallax_of",
    "places_of",
    "records_of",
]

EVERYWHERE = "everywhere"
OUTLINES = "outlines"
"""Where errors are taken: wherever both cameras see the same, and where both see an outline there."""

FEWEST = 100
"""So many pixels of a pair have to be at a distance for something to be said of it."""
_FAR_PX = 2.0  # a pixel that is off by more counts as misaligned
_FARTHEST_M = 1e5  # of the sky; farther makes no difference of a thousandth of a pixel
_OUTLINE_SMOOTHING_PX = 1.5
_OUTLINE_PERCENTILE = 85.0  # of the steepness, above which an image has an outline
_DECIMALS = 4  # of a pixel: beyond them the number of threads may decide


class Span(NamedTuple):
    """Distances along the RGB camera's axis, metres; the far end excluded."""

    near_m: float
    far_m: float

    @property
    def name(self) -> str:
        """For people."""
        if self == WHOLE:
            return "all"
        return f"> {self.near_m:g} m" if math.isinf(self.far_m) else f"{self.near_m:g} to {self.far_m:g} m"

    @property
    def middle_m(self) -> float:
        """Where it stands on a logarithmic scale."""
        return math.sqrt(self.near_m * (2.0 * self.near_m if math.isinf(self.far_m) else self.far_m))


WHOLE = Span(0.0, math.inf)
TABLE = tuple(Span(*ends) for ends in pairwise((2.0, 4.0, 6.0, 10.0, 20.0, 50.0, math.inf)))
"""Distances that tables name."""
CURVE = tuple(
    Span(*ends) for ends in pairwise((3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 30.0, 50.0, 100.0))
)
"""Distances that a curve goes through."""


@dataclass(frozen=True, eq=False)
class Parallax:
    """The truth of a rendered pair after the coarse alignment.

    Attributes:
        flow: ``(H, W, 2)`` float32 on the RGB grid: where the aligned thermal image shows what a pixel shows, less
            the pixel. Where something nearer hides that from the thermal camera, where it would be.
        depth: ``(H, W)`` float32, metres along the RGB camera's axis.
        seen: ``(H, W)`` bool: both cameras see it, and the aligned thermal image has it within its borders.
    """

    flow: np.ndarray
    depth: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class ParallaxRecord:
    """One aligner on one pair, over the pixels of a :class:`Span`.

    Attributes:
        place: :data:`EVERYWHERE` or :data:`OUTLINES`.
        pixels: How many of them both cameras see.
        mean_px: Mean distance of the answer from the true flow.
        median_px: The same over half of the pixels.
        p90_px: The same over nine of ten.
        far: Share of the pixels that are off by more than 2 px.
        nothing_px: Mean length of the true flow: the error of doing nothing.
    """

    source: str
    frame: str
    aligner: str
    condition: str
    place: str
    near_m: float
    far_m: float
    pixels: int
    mean_px: float
    median_px: float
    p90_px: float
    far: float
    nothing_px: float


@dataclass(frozen=True)
class ParallaxSummary:
    """An aligner at some distance: means over pairs, each of which counts alike; NaN where there are none.

    Attributes:
        pairs: How many.
        mean_px: Of the pairs' mean errors.
        low_px: Lower end of its 95 % interval.
        high_px: Upper end.
        median_px: Mean of the pairs' medians.
        p90_px: Mean of the pairs' errors that nine of ten pixels stay below.
        far: Mean of the pairs' shares of pixels above 2 px.
        nothing_px: Mean of the pairs' errors of doing nothing.
        pixels: Number of pixels in all pairs.
    """

    pairs: int
    mean_px: float
    low_px: float
    high_px: float
    median_px: float
    p90_px: float
    far: float
    nothing_px: float
    pixels: int

    @classmethod
    def of(cls, records: Sequence[ParallaxRecord]) -> ParallaxSummary:
        """Return what records of one aligner over one span say together."""
        if not records:
            return cls(0, *[math.nan] * 7, pixels=0)
        means = np.array([record.mean_px for record in records])
        interval = mean_interval([Stratum(means, False)])
        others = [
            float(np.mean([getattr(record, name) for record in records]))
            for name in ("median_px", "p90_px", "far", "nothing_px")
        ]
        total = sum(record.pixels for record in records)
        return cls(len(records), float(means.mean()), interval.low, interval.high, *others, pixels=total)


def parallax_of(rig: Rig, truth: Truth, distance_m: float, ground: GroundSettings) -> Parallax:
    """Return what a rig's calibrated coarse alignment leaves.

    That alignment takes everything to lie on a plane at one distance, and on the ground where that is nearer: so
    a point is shown where the ray on which the thermal camera sees it meets these.

    Args:
        rig: The two cameras; the output has the RGB camera's own size.
        truth: Of one moment.
        distance_m: Of the plane, in front of the thermal camera.
        ground: As the coarse alignment knows it.
    """
    pixels = rig.rgb.pixel_grid()
    points = rig.rgb.rays(pixels) * np.minimum(truth.depth, _FARTHEST_M)[..., None]
    thermal = rig.rgb_from_thermal[:3, 3]
    rays = points - thermal
    surfaces = [facing_plane(rig, distance_m), ground.plane()]
    factor = np.minimum.reduce([surface.reached(thermal, rays) for surface in surfaces if surface is not None])
    shown = rig.rgb.project(thermal + rays * factor[..., None])
    flow = np.nan_to_num(shown - pixels).astype(np.float32)
    seen = np.isfinite(truth.thermal_from_rgb).all(axis=-1) & np.isfinite(shown).all(axis=-1)
    return Parallax(flow, truth.depth, seen & valid_mask(*flow_positions(flow), truth.depth.shape))


def places_of(parallax: Parallax, moving: np.ndarray, fixed: np.ndarray) -> dict[str, np.ndarray]:
    """Return the pixels at which errors are taken, by the name of the place.

    An outline is within a pixel of where both images, the moving one brought to its true place, are steeper than
    nearly everywhere else.

    Args:
        parallax: The truth.
        moving: ``(H, W)`` float32, the coarsely aligned thermal image.
        fixed: Likewise, the luma.

    Returns:
        ``(H, W)`` bool by place.
    """
    images = (warp_by_flow(moving, parallax.flow), fixed)
    steep = np.logical_and.reduce([_is_steep(image) for image in images]) & parallax.seen
    wide = cv2.dilate(steep.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return {EVERYWHERE: parallax.seen, OUTLINES: wide & parallax.seen}


def records_of(
    parallax: Parallax,
    places: Mapping[str, np.ndarray],
    flow: np.ndarray,
    *,
    source: str,
    frame: str,
    aligner: str,
    condition: str,
) -> Iterator[ParallaxRecord]:
    """Yield how far an answer is from the truth, over all distances and at each; none where hardly a pixel is.

    Args:
        parallax: The truth.
        places: As :func:`places_of` gives them.
        flow: ``(H, W, 2)``, the answer.
        source: Names for the record, as the others.
    """
    off = flow - parallax.flow
    error = np.hypot(off[..., 0], off[..., 1])
    nothing = np.hypot(parallax.flow[..., 0], parallax.flow[..., 1])
    for place, pixels in places.items():
        for near_m, far_m in dict.fromkeys((WHOLE, *TABLE, *CURVE)):
            there = pixels & (parallax.depth >= near_m) & (parallax.depth < far_m)
            if np.count_nonzero(there) < FEWEST:
                continue
            figures = _figures(error[there], nothing[there])
            yield ParallaxRecord(source, frame, aligner, condition, place, near_m, far_m, **figures)


def _figures(error: np.ndarray, nothing: np.ndarray) -> dict[str, float]:
    median, p90 = np.percentile(error, (50, 90))
    found = {
        "mean_px": error.mean(dtype=np.float64),
        "median_px": median,
        "p90_px": p90,
        "far": (error > _FAR_PX).mean(),
        "nothing_px": nothing.mean(dtype=np.float64),
    }
    return {"pixels": error.size, **{name: round(float(value), _DECIMALS) for name, value in found.items()}}


def _is_steep(image: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(image, (0, 0), _OUTLINE_SMOOTHING_PX)
    steepness = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return steepness > np.percentile(steepness, _OUTLINE_PERCENTILE)
