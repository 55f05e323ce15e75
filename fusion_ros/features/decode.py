"""What a subscriber needs: from a message of feature maps to the array, and to a tensor.

    description = FeatureDescription.from_json(latched.data)     # std_msgs/String
    grid = decode_features(message, description)                 # sensor_msgs/Image
    tensor = as_tensor(grid)                                     # (1, C, h, w)

Neither ROS nor PyTorch is needed to import this, and PyTorch for :func:`as_tensor` alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ImageError
from ..feature_grid import FeatureGrid
from ..imaging import array_from_image
from .description import FeatureDescription, LayerDescription

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["as_tensor", "decode_features"]

_ENCODING = re.compile(r"(?P<depth>32F|8U)C(?P<channels>[1-9][0-9]*)")


def decode_features(message: Any, description: FeatureDescription | str, layer: str = "") -> FeatureGrid:
    """Return the feature map that a message holds.

    Args:
        message: A ``sensor_msgs/Image`` of rclpy or rosbags, or anything with its fields.
        description: The latest message of ``fused/features/description``: its text, or what
            :meth:`FeatureDescription.from_json` made of it.
        layer: Name or topic of the layer; the one on ``fused/features`` where none is given.

    Returns:
        The grid. Its values are a view on the message's memory where that holds float32 in this machine's byte
        order (read-only where that is), else fresh memory.

    Raises:
        ImageError: The message holds no features, its fields contradict each other, or the description is
            foreign or older than the message.
    """
    if isinstance(description, str):
        description = FeatureDescription.from_json(description)
    described = description.layer(layer)
    found = _ENCODING.fullmatch(message.encoding)
    if found is None:
        raise ImageError(
            f"layer {described.name}: expected feature maps of encoding 32FC{described.channels} or "
            f"8UC{described.channels}, got {message.encoding!r}; is it a message of {described.topic}?"
        )
    if int(found["channels"]) != described.channels:
        raise ImageError(
            f"layer {described.name}: expected {described.channels} channels, got {message.encoding}; take the "
            f"description of the node that publishes, and the layer of this topic (here: {described.topic})"
        )
    wire = array_from_image(message)
    values = wire if wire.ndim == 3 else wire[..., None]
    size = _image_size(described, values.shape[:2])
    if found["depth"] == "8U":
        values = described.quantisation_at(_stamp_ns(message)).restore(values)
    return FeatureGrid(values, described.stride, size)


def as_tensor(grid: FeatureGrid) -> Tensor:
    """Return ``(1, C, h, w)`` float32 on the grid's own memory, channels last; a copy where that is read-only."""
    import torch

    values = np.require(grid.values, requirements="W")
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def _image_size(described: LayerDescription, cells: tuple[int, int]) -> tuple[int, int]:
    size = described.image_size
    if size is None:
        raise ImageError(
            f"layer {described.name}: the description is from before the first frame and knows no image size; "
            "take the newest description"
        )
    # Networks round a size that their stride does not divide up or down.
    rows, columns = ((side // described.stride, -(-side // described.stride)) for side in size)
    if cells[0] not in rows or cells[1] not in columns:
        raise ImageError(
            f"layer {described.name}: {cells[0]} x {cells[1]} cells of stride {described.stride} do not fit the "
            f"image of {size[0]} x {size[1]} (h x w) in the description; take the newest description"
        )
    return size


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
