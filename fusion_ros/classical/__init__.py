"""Fusion methods that need no weights: the floor for every network, and what is there when no network is.

Each takes two images on one pixel grid, ``method(infrared, visible) -> fused``, all ``(H, W)`` float32,
the inputs finite and in [0, 1]. The fused image is fresh memory and not clamped: pyramids and guided
filters may overshoot the range a little. Any size from one pixel on will do, and two equal images give
that image again. :data:`CLASSICAL` lists the methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..spec import NetworkSpec
from .guided import GuidedFilterSettings, guided_filter, guided_filter_fusion
from .pyramid import LaplacianSettings, laplacian
from .weighted import average, maximum, pca

__all__ = [
    "CLASSICAL",
    "ClassicalMethod",
    "GuidedFilterSettings",
    "LaplacianSettings",
    "average",
    "guided_filter",
    "guided_filter_fusion",
    "laplacian",
    "maximum",
    "pca",
]


@dataclass(frozen=True)
class ClassicalMethod:
    """One method without weights.

    Attributes:
        name: Its key in :data:`CLASSICAL`.
        title: Its name among people.
        source: The paper, or where else it is defined.
        function: ``(infrared, visible) -> fused``, ``(H, W)`` float32 in [0, 1]; the result is to be clamped.
        help: What it does, one sentence.
    """

    name: str
    title: str
    source: str
    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    help: str

    @property
    def spec(self) -> NetworkSpec:
        """What it consumes and gives, as a network would say it: [0, 1] both ways."""
        return NetworkSpec(name=self.name, title=self.title, source=self.source)


CLASSICAL: dict[str, ClassicalMethod] = {
    method.name: method
    for method in (
        ClassicalMethod("average", "Average", "the definition", average, "The mean of the two images."),
        ClassicalMethod("maximum", "Maximum", "the definition", maximum, "The brighter of each two pixels."),
        ClassicalMethod(
            "laplacian",
            "Laplacian pyramid",
            "Burt and Adelson, IEEE Transactions on Communications 31(4), 1983",
            laplacian,
            "The stronger of each two details at every scale; the coarse rest averaged.",
        ),
        ClassicalMethod(
            "guided_filter",
            "Guided-filter fusion (GFF)",
            "Li, Kang and Hu, IEEE Transactions on Image Processing 22(7), 2013",
            guided_filter_fusion,
            "Base and detail weighted by saliency, the weights refined to follow the images' edges.",
        ),
        ClassicalMethod(
            "pca",
            "Principal component",
            "Naidu and Raol, Defence Science Journal 58(3), 2008",
            pca,
            "The mean weighted by the images' first principal component.",
        ),
    )
}
"""Method name -> method."""
