"""Fuse images with a network as it will be deployed: value ranges, rounding and all."""

from __future__ import annotations

import numpy as np
import torch

from fusion_ros.imaging import to_uint8
from fusion_ros.imaging.ranges import MethodRanges
from fusion_ros.networks import FusionNetwork

__all__ = ["fuse_images"]


@torch.no_grad()
def fuse_images(network: FusionNetwork, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Fuse two still images with a network that is in inference mode.

    Args:
        network: On any device.
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, luma, of the same size.

    Returns:
        ``(H, W)`` uint8.
    """
    device = next(network.parameters()).device
    ranges = MethodRanges(network.spec)
    images = (image.astype(np.float32) / np.float32(255) for image in (infrared, visible))
    inputs = (torch.from_numpy(image)[None, None].to(device) for image in ranges.prepare(*images, 0))
    output = network(*inputs)[0, 0].float().cpu().numpy()
    return to_uint8(ranges.finish(output, 0))
