"""Fuse images with a network as it will be deployed: value ranges, rounding and all."""

from __future__ import annotations

import numpy as np
import torch

from fusion_ros.engines import Engine
from fusion_ros.imaging import to_uint8
from fusion_ros.imaging.ranges import MethodRanges
from fusion_ros.networks import FusionNetwork

__all__ = ["fuse_images"]


def fuse_images(method: FusionNetwork | Engine, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Fuse two still images.

    Args:
        method: A network in inference mode, on any device; or an engine that runs one faster.
        infrared: ``(H, W)`` uint8.
        visible: ``(H, W)`` uint8, luma, of the same size.

    Returns:
        ``(H, W)`` uint8.
    """
    ranges = MethodRanges(method.spec)
    images = (image.astype(np.float32) / np.float32(255) for image in (infrared, visible))
    inputs = (image[None, None] for image in ranges.prepare(*images, 0))
    output = _run(method, *inputs) if isinstance(method, FusionNetwork) else method(*inputs)
    return to_uint8(ranges.finish(output[0, 0], 0))


@torch.no_grad()
def _run(network: FusionNetwork, *images: np.ndarray) -> np.ndarray:
    device = next(network.parameters()).device
    return network(*(torch.from_numpy(image).to(device) for image in images)).float().cpu().numpy()
