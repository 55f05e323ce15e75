"""Rendered pairs with parallax and exact flow, as many as one likes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from fusion_ros.alignment import CoarseAligner, CoarseSettings
from fusion_ros.errors import SettingsError
from fusion_ros.geometry.cameras import Rig
from fusion_ros.geometry.warp import inner_rectangle
from fusion_ros.imaging import luma, to_uint8
from fusion_ros.settings import setting
from fusion_ros.synthetic import SyntheticWorld, WorldSettings

from ..pairs import PairImages
from .base import DataSet, Found, SetOptions, thinned

__all__ = ["Synthetic", "SyntheticOptions", "SyntheticPair", "flow_after_alignment"]

_PAIRS_A_WORLD = 8  # building a world takes as long as this many pictures of it
_CONDITIONS, _SHARES = ("day", "night", "smoke"), (0.5, 0.35, 0.15)
_LONGEST_S = 300.0
_BUILDING = Lock()
_FARTHEST_M = 1e5  # the sky; farther makes no difference of a thousandth of a pixel


@dataclass(frozen=True)
class SyntheticOptions(SetOptions):
    """How many pairs of which size."""

    seed: int = setting(0, "Seed of the worlds; another seed gives other pairs.", bounds=(0, None))
    count: int = setting(200, "Number of pairs.", bounds=(1, None))
    width: int = setting(320, "Width of the pairs.", unit="px", bounds=(64, 4096))
    height: int = setting(240, "Height of the pairs.", unit="px", bounds=(64, 4096))
    distance_m: float = setting(
        12.0, "Distance at which the coarse alignment is exact.", unit="m", bounds=(0.5, 1000.0)
    )


@dataclass(frozen=True)
class SyntheticPair:
    """Pair number ``index`` of an endless series: a function of the seed and this number alone.

    Every few pairs another street begins, by day, night or in smoke, with other people, cars, noise and distance
    between the cameras; each pair is another moment. The thermal image is brought onto the visible grid by the
    rig's homography, as on a calibrated robot; what that leaves is the flow.
    """

    name: str
    index: int
    options: SyntheticOptions

    def read(self) -> PairImages:
        """Render the pair: tenths of a second, and some seconds for the first of a street."""
        world, time_s = self.scene()
        visible = to_uint8(luma(world.rgb_image(time_s)))
        coarse = CoarseSettings.for_rig(world.rig, self.options.distance_m)
        aligned = CoarseAligner(coarse)(world.thermal_image(time_s), visible.shape)
        flow = flow_after_alignment(world.rig, world.truth(time_s).depth, self.options.distance_m)
        seen = slice(None), slice(None)
        if aligned.valid is not None:
            seen = inner_rectangle(aligned.valid)
        return PairImages(*(np.ascontiguousarray(array[seen]) for array in (aligned.pixels, visible, flow)))

    def scene(self) -> tuple[SyntheticWorld, float]:
        """Return the world and the moment, in seconds, that the pair shows: they hold all of its truth."""
        rng = np.random.default_rng((self.options.seed, self.index, 1))
        world = _world(self.options, self.index // _PAIRS_A_WORLD)
        return world, float(rng.uniform(0.0, _LONGEST_S))


class Synthetic(DataSet):
    """The package's own street."""

    name = "synthetic"
    title = "rendered street scenes with exact flow, any number"
    tree = """\
  nothing: synthetic, or synthetic=SEED:COUNT"""
    licence = "part of this package"
    registered = "Coarsely aligned, with parallax; by how much each pixel is off is exactly known."
    example = "synthetic=0:500"
    options = SyntheticOptions

    def find(self, root: Path, options: SetOptions | None = None) -> Found:
        """Return the pairs; there is nothing at ``root``, and nothing is rendered before a pair is read."""
        options = options or self.options()
        stems = thinned([f"{index:06d}" for index in range(options.count)], self.name, options)
        return Found(tuple(SyntheticPair(f"{self.name}/{stem}", int(stem), options) for stem in stems))

    def read_paths(self, paths: Sequence[str]) -> tuple[Path, dict[str, Any]]:
        """Read ``SEED:COUNT`` in place of a path; see :meth:`DataSet.read_paths`."""
        if not paths:
            return Path(), {}
        seed, _, count = paths[0].partition(":")
        if len(paths) > 1 or not (seed.isdecimal() and count.isdecimal()):
            raise SettingsError(
                f"{self.name}: expected SEED:COUNT, such as {self.example}, got {','.join(paths)!r}"
            )
        return Path(), {"seed": int(seed), "count": int(count)}


def flow_after_alignment(rig: Rig, depth: np.ndarray, distance_m: float) -> np.ndarray:
    """Return by how much the thermal image is off the visible grid once the rig's homography was applied.

    A visible pixel's surface point is projected into the thermal camera, and from there onto the aligned grid by
    the homography. Where something nearer hides that point from the thermal camera, the flow points to where it
    would be.

    Args:
        rig: The two cameras.
        depth: ``(H, W)`` on the visible grid, metres along the axis; infinite for the sky.
        distance_m: Distance at which the homography is exact.

    Returns:
        ``(H, W, 2)`` float32, x first, in pixels, on the visible grid and pointing into the aligned thermal image.
    """
    pixels = rig.rgb.pixel_grid()
    points = rig.rgb.rays(pixels) * np.minimum(depth, _FARTHEST_M)[..., None]
    pose = rig.thermal_from_rgb
    seen = rig.thermal.project(points @ pose[:3, :3].T + pose[:3, 3])
    whole = np.concatenate([seen, np.ones((*depth.shape, 1))], axis=-1) @ rig.homography(distance_m).T
    return (whole[..., :2] / whole[..., 2:] - pixels).astype(np.float32)


def _world(options: SyntheticOptions, number: int) -> SyntheticWorld:
    with _BUILDING:  # threads that want the same world build it once
        return _build_world(options, number)


@lru_cache(maxsize=8)
def _build_world(options: SyntheticOptions, number: int) -> SyntheticWorld:
    rng = np.random.default_rng((options.seed, number, 0))
    return SyntheticWorld(
        WorldSettings(
            seed=int(rng.integers(2**31)),
            condition=str(rng.choice(_CONDITIONS, p=_SHARES)),
            people=int(rng.integers(2, 11)),
            cars=int(rng.integers(1, 9)),
            baseline_m=float(rng.uniform(0.03, 0.15) * rng.choice((-1, 1))),
            noise=float(rng.uniform(0.5, 2.0)),
            rgb_width=options.width,
            rgb_height=options.height,
            thermal_width=max(64, options.width // 2),
            thermal_height=max(64, options.height // 2),
        )
    )
