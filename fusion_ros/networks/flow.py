"""Re-sampling by a flow, and the flow that a velocity field integrates to.

Convention: a flow is ``(B, 2, H, W)``, x first, in pixels, on the grid of the image that stands still. The
value at a pixel is added to the pixel's own position, and the moving image is sampled there:
``moved(p) = moving(p + flow(p))``. Pixel centres lie at integers, so the outermost centres of a row are
0 and W - 1 (``align_corners=True``). Images are at least 2 pixels high and wide.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Border", "integrate", "warp"]

Border = Literal["zeros", "replicate"]

_PADDING_MODES = {"zeros": "zeros", "replicate": "border"}  # ours -> PyTorch's


def warp(image: Tensor, flow: Tensor, border: Border = "zeros") -> Tensor:
    """Sample an image at every pixel's position plus its flow, bilinearly.

    Positions are kept in float32 whatever the type of the image: float16 counts whole pixels only from
    1,024 on, bfloat16 from 128 on.

    Args:
        image: ``(B, C, H, W)``.
        flow: ``(B, 2, H, W)``, as the module says.
        border: What lies outside the image: zeros, or the nearest pixel of its border.

    Returns:
        ``(B, C, H, W)``, of the image's type.

    Source: Huang et al., ReCoNet, ECCV 2022, equation 1.
    """
    flow = flow.float()
    ones = torch.ones_like(flow[:1, :1])
    # Counting ones gives the pixel positions whatever the size, also where the size is not known yet.
    x = torch.cumsum(ones[:, :, :1, :], dim=-1) - 1 + flow[:, :1]
    y = torch.cumsum(ones[:, :, :, :1], dim=-2) - 1 + flow[:, 1:]
    across = 2 * (x / (flow.shape[-1] - 1) - 0.5)  # -1 and 1 are the outermost centres
    down = 2 * (y / (flow.shape[-2] - 1) - 0.5)
    grid = torch.cat([across, down], dim=1).permute(0, 2, 3, 1)
    moved = F.grid_sample(
        image.float(), grid, mode="bilinear", padding_mode=_PADDING_MODES[border], align_corners=True
    )
    return moved.to(image)


def integrate(velocity: Tensor, squarings: int = 7) -> Tensor:
    """Return the flow that a stationary velocity field reaches after unit time.

    Scaling and squaring: the velocity divided by ``2 ** squarings`` is a flow to first order, and a flow
    composed with itself lasts twice as long. The result is smooth and invertible where the velocity is
    smooth, which a sum of displacements is not. Beyond the border the velocity is zero.

    Args:
        velocity: ``(B, 2, H, W)``, in pixels, as the module says.
        squarings: How often the flow is composed with itself; 0 returns the velocity as it is.

    Returns:
        ``(B, 2, H, W)`` float32.

    Source: Arsigny et al., "A Log-Euclidean Framework for Statistics on Diffeomorphisms", MICCAI 2006.
    """
    flow = velocity.float() / 2**squarings
    for _ in range(squarings):
        flow = flow + warp(flow, flow)
    return flow
