"""Takes feature maps out of a network, frame by frame."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import check_pair
from ..engines.base import Engine
from ..feature_grid import FeatureGrid
from ..imaging import MethodRanges, RangeSettings
from ..settings import Settings, setting
from ..spec import FeatureMap

if TYPE_CHECKING:
    from ..networks.tapped import Tapped

__all__ = ["FeatureExtractor", "FeatureSettings"]


@dataclass(frozen=True)
class FeatureSettings(Settings):
    """Which feature maps are offered, and how they are published."""

    model: str = setting(
        "",
        "Model whose feature maps are offered: a name, the path of a model folder, or same for the model that "
        "fuses the image; empty offers none.",
        read_only=True,
    )
    network: str = setting(
        "",
        "Settings of that model's network, as name=value separated by commas, such as fusion=sum.",
        read_only=True,
    )
    layers: str = setting(
        "",
        "Layers to offer, separated by commas, such as fused,infrared; the first one is fused/features. Empty "
        "offers all that the network has.",
        read_only=True,
    )
    encoding: str = setting(
        "32F",
        "Type of the published values: 32F as the network gives them; 8U a quarter of the bytes, quantised.",
        choices=("32F", "8U"),
    )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers asked for, in order; empty where all are."""
        return tuple(name for part in self.layers.split(",") if (name := part.strip()))


class FeatureExtractor:
    """Gives the feature maps of one stream of image pairs.

    Args:
        engine: Runs ``tapped``; handed in, and closed by :meth:`close`.
        tapped: Says what the engine's array holds; its weights are not used and may be on the meta device.
        ranges: How the range of a network that stretches its inputs follows the stream.
        model: Name of the model, for descriptions.
        weights_sha256: Checksum of its weights; empty where it is not known.
    """

    def __init__(
        self,
        engine: Engine,
        tapped: Tapped,
        ranges: RangeSettings | None = None,
        model: str = "",
        weights_sha256: str = "",
    ) -> None:
        self.engine = engine
        self.model = model or engine.spec.name
        self.weights_sha256 = weights_sha256
        self._tapped = tapped
        self._ranges = MethodRanges(engine.spec, ranges)
        self._size: tuple[int, int] | None = None  # of the images that the shapes hold for
        self._shapes: tuple[tuple[int, int, int], ...] = ()

    @property
    def maps(self) -> tuple[FeatureMap, ...]:
        """What is offered, the main layer first."""
        return self._tapped.maps

    @property
    def description(self) -> str:
        """One line for logs: model, layers and what runs it."""
        return f"{', '.join(item.name for item in self.maps)} of {self.model} on {self.engine.description}"

    def reconfigured(self, ranges: RangeSettings) -> FeatureExtractor:
        """Return an extractor on the same engine whose ranges start afresh with other settings."""
        other = copy(self)
        other._ranges = MethodRanges(self.engine.spec, ranges)
        return other

    def reset(self) -> None:
        """Forget the ranges that earlier frames taught."""
        self._ranges.reset()

    def prepare(self, height: int, width: int) -> None:
        """Compile the engine for images of a size, so that the first one is not late.

        Raises:
            EngineError: The network cannot be compiled.
        """
        self.engine.prepare(height, width)
        self._layout(height, width)

    def close(self) -> None:
        """Free what the engine holds; the extractor cannot be used after this."""
        self.engine.close()

    def __call__(self, infrared: np.ndarray, visible: np.ndarray, stamp_ns: int) -> dict[str, FeatureGrid]:
        """Return every map by name, as the network gives it.

        Args:
            infrared: ``(H, W)`` float32 in [0, 1].
            visible: Likewise, luminance, on the same pixel grid. Neither is changed.
            stamp_ns: Time of the pair, by which ranges follow the stream.

        Returns:
            The grids share one array, which is the caller's.

        Raises:
            ImageError: The images are not such arrays.
            EngineError: The network could not be run.
        """
        check_pair(infrared, visible)
        size = infrared.shape
        infrared, visible = self._ranges.prepare(infrared, visible, stamp_ns)
        flat = self.engine(infrared[None, None], visible[None, None])[0]
        shapes = self._layout(*size)
        parts = np.split(flat, np.cumsum([prod(shape) for shape in shapes[:-1]]))
        return {
            item.name: FeatureGrid(part.reshape(shape), item.stride, size)
            for item, part, shape in zip(self.maps, parts, shapes, strict=True)
        }

    def _layout(self, height: int, width: int) -> tuple[tuple[int, int, int], ...]:
        if self._size != (height, width):
            self._shapes = self._tapped.shapes(height, width)
            self._size = (height, width)
        return self._shapes
