"""Pairs made of pairs: at another size, registered anew, or of one image in two guises."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fusion_ros.alignment.estimate import Estimator
from fusion_ros.alignment.learned import resized_flow
from fusion_ros.alignment.structural import StructuralEstimator
from fusion_ros.errors import ImageError

from .pairs import Pair, PairImages

__all__ = ["Disguised", "Registered", "Rescaled"]

_KNOTS = 7
_INVERTED, _FOLDED, _BLURRED = 0.6, 0.3, 0.6  # how often
_LARGEST_BLUR = 1.6  # px
_COARSE = 8  # px of the image to a value of a flow that is kept


@dataclass(frozen=True, eq=False)
class Rescaled:
    """A pair at another size, both images alike; a flow of its own is scaled with it."""

    pair: Pair
    factor: float

    @property
    def name(self) -> str:
        """The pair's name and the factor."""
        return f"{self.pair.name} x {self.factor:g}"

    def read(self) -> PairImages:
        """See :class:`training.data.pairs.Pair`."""
        infrared, visible, flow = self.pair.read()
        method = cv2.INTER_AREA if self.factor < 1 else cv2.INTER_CUBIC
        visible_size = visible.shape[::-1]
        size = tuple(max(1, round(side * self.factor)) for side in visible_size)
        infrared, visible = (cv2.resize(image, size, interpolation=method) for image in (infrared, visible))
        if flow is not None:
            flow = cv2.resize(np.ascontiguousarray(flow), size, interpolation=cv2.INTER_LINEAR)
            flow = flow * np.float32([new / old for new, old in zip(size, visible_size, strict=True)])
        return PairImages(infrared, visible, flow)


@dataclass(frozen=True, eq=False)
class Registered:
    """A pair whose set has registered it badly, with the flow that :meth:`found` has found in it.

    Attributes:
        coarse: The flow at a fraction of the size, ``(h, w, 2)`` float32 in its own pixels.
    """

    pair: Pair
    coarse: np.ndarray

    @classmethod
    def found(
        cls,
        pair: Pair,
        estimators: tuple[Estimator, ...] = (StructuralEstimator(),),
        least_confidence: float = 0.5,
    ) -> Pair:
        """Return a pair with the flow that is found in it; the pair itself if nobody is sure of one.

        Nor is a flow looked for where the exact one is known, or the images cannot be read.

        Args:
            pair: To be registered.
            estimators: Who looks for the flow; the first one that is sure is believed.
            least_confidence: Below it an estimator is not sure.
        """
        try:
            images = pair.read()
        except ImageError:
            return pair  # whoever samples from it says so, and takes another
        if images.flow is not None:
            return pair
        for estimate in estimators:
            found = estimate(_unit(images.infrared), _unit(images.visible))
            if found.confidence >= least_confidence:
                height, width = images.visible.shape
                return cls(pair, resized_flow(found.flow, (max(1, height // _COARSE), max(1, width // _COARSE))))
        return pair

    @property
    def name(self) -> str:
        """The pair's name."""
        return self.pair.name

    def read(self) -> PairImages:
        """See :class:`training.data.pairs.Pair`."""
        images = self.pair.read()
        return images._replace(flow=resized_flow(self.coarse, images.visible.shape))


@dataclass(frozen=True, eq=False)
class Disguised:
    """One image of a pair in two guises, which lie exactly on one another.

    The guise is a random curve of greys, more often falling than rising and sometimes folded, so that some edges
    turn round and others vanish, and some blur: what differs between cameras of two kinds, but exaggerated and
    without what only one of them sees. It is a function of the pair's name.

    Attributes:
        of_visible: The visible image is disguised as the infrared one; else the infrared as the visible one.
    """

    pair: Pair
    of_visible: bool

    @property
    def name(self) -> str:
        """The pair's name and which image."""
        return f"{self.pair.name}, {'visible' if self.of_visible else 'infrared'} disguised"

    def read(self) -> PairImages:
        """See :class:`training.data.pairs.Pair`."""
        infrared, visible, _ = self.pair.read()
        disguise = _disguise(np.random.default_rng(zlib.crc32(self.name.encode("utf-8", "surrogateescape"))))
        if self.of_visible:
            return PairImages(disguise(visible), visible)
        return PairImages(infrared, disguise(infrared))


def _disguise(rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    curve = np.concatenate([[0.0], np.cumsum(rng.uniform(0.05, 1.0, _KNOTS - 1))])
    curve /= curve[-1]
    if rng.random() < _INVERTED:
        curve = 1.0 - curve
    if rng.random() < _FOLDED:
        curve = np.abs(2.0 * curve - 1.0)
    table = np.interp(np.arange(256), np.linspace(0, 255, _KNOTS), 255.0 * curve).astype(np.uint8)
    sigma = rng.uniform(0.5, _LARGEST_BLUR) if rng.random() < _BLURRED else 0.0

    def apply(image: np.ndarray) -> np.ndarray:
        image = table[image]
        return cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image

    return apply


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / 255
