"""What a fusion method says of itself: value ranges, what it gives, whether it aligns.

Every network, every classical method and every engine carries a :class:`NetworkSpec`. Nothing is
scaled inside a network: its spec says which range goes in and which comes out, and the caller does what
it says (:class:`fusion_ros.imaging.ranges.MethodRanges`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["FeatureMap", "Gives", "InputRange", "NetworkSpec", "OutputRange", "Takes"]


class InputRange(str, Enum):
    """The values that a network's inputs have."""

    UNIT = "unit"
    """[0, 1], the pixel type's full range."""
    BYTE = "byte"
    """[0, 255], as floating point."""
    STRETCHED = "stretched"
    """[0, 1], each image stretched from its own minimum to its own maximum."""


class OutputRange(str, Enum):
    """What a network's output has to undergo to become an image in [0, 1]."""

    UNIT = "unit"
    """It is one already: values outside are clamped."""
    STRETCHED = "stretched"
    """It has no scale of its own: stretched from its minimum to its maximum."""


class Takes(str, Enum):
    """What the two inputs of a network are."""

    IMAGES = "images"
    """Images ``(B, 1, H, W)`` with values of the spec's input range."""
    FEATURES = "features"
    """Feature maps ``(B, C, H, W)`` in any range; C is the network's setting ``channels``."""


class Gives(str, Enum):
    """What the output of a network is."""

    IMAGE = "image"
    """A fused image ``(B, 1, H, W)``."""
    FLOW = "flow"
    """A flow ``(B, 2, H, W)``, x first, in pixels, on the fixed image's grid, pointing to where the
    moving image is to be sampled."""
    FEATURES = "features"
    """A fused feature map ``(B, C, h, w)``; C is the network's setting ``channels``. Of two feature maps it has
    their size; of two images it is coarser by the stride of the first of its ``feature_maps()``."""


@dataclass(frozen=True)
class NetworkSpec:
    """What a network consumes and gives.

    Attributes:
        name: Its name in ``NETWORKS``.
        title: Its name among people.
        source: The paper, and where in it.
        input_range: Values of both inputs, where they are images.
        output_range: What makes the output an image.
        takes: What the inputs are.
        truncates: The authors cut the output to whole grey levels instead of rounding it.
        gives: What the output is.
        inputs: Names of the two inputs, in order.
        aligns: It corrects a misalignment between its inputs by itself.
    """

    name: str
    title: str
    source: str
    input_range: InputRange = InputRange.UNIT
    output_range: OutputRange = OutputRange.UNIT
    takes: Takes = Takes.IMAGES
    truncates: bool = False
    gives: Gives = Gives.IMAGE
    inputs: tuple[str, str] = ("infrared", "visible")
    aligns: bool = False


@dataclass(frozen=True)
class FeatureMap:
    """One map that :meth:`FusionNetwork.features` gives.

    Attributes:
        name: Its key.
        channels: Its number of channels.
        stride: Its pixel pitch in input pixels; its size is the input's divided by this, rounded up
            or down as the network does.
        help: What it is, one sentence.
    """

    name: str
    channels: int
    stride: int
    help: str
