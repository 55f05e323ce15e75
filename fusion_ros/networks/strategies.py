"""Hand-made fusion strategies: how two sets of deep features become one without anything learned.

Li et al., "RFN-Nest: An end-to-end residual fusion network for infrared and visible images", Information
Fusion 73, 2021, section 4.7 and table 4. The paper names five and takes their formulas from other papers:
DenseFuse (Li and Wu, IEEE TIP 2019) and NestFuse (Li et al., IEEE TIM 2020).

Each is a function of two feature maps ``(B, C, H, W)``, of any encoder, and returns a map of that shape.
All but :func:`maximum` and :func:`add` are weighted means whose two weights sum to one::

    w_ir = a_ir / (a_ir + a_vi)        w_vi = a_vi / (a_ir + a_vi)        fused = w_ir * ir + w_vi * vi

and differ in the activity ``a``. Where the authors' released code differs from the papers (it weighs
positions by a softmax of the features' means over the channels, which overflows float32 at means over 88), the
papers' formulas are followed. Where the papers assume features that are not negative, absolute
values are taken: the same for those, and defined for features of both signs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["STRATEGIES", "Strategy", "add", "l1_norm", "maximum", "nuclear_norm", "spatial_channel_attention"]

Strategy = Callable[[Tensor, Tensor], Tensor]
"""``(infrared, visible) -> fused``, all ``(B, C, H, W)``."""

# Keeps 0 / 0 from being computed, also in half precision, where anything below 6e-8 is zero. Both
# features are zero where it acts, so the weights do not matter there.
_EPSILON = 1e-7


def add(infrared: Tensor, visible: Tensor) -> Tensor:
    """Return ``infrared + visible``: table 4, "add"; twice the scale that the decoder was trained with."""
    return infrared + visible


def maximum(infrared: Tensor, visible: Tensor) -> Tensor:
    """Return the larger of the two, element by element: table 4, "max"."""
    return torch.maximum(infrared, visible)


def l1_norm(infrared: Tensor, visible: Tensor) -> Tensor:
    """Weigh each position by the l1-norm of its features over the channels, averaged over 3x3 positions.

    ``a(x, y)`` = mean over the 3x3 positions around (x, y) of the sum over c of ``|features[c]|``.

    Table 4, "l1-norm"; DenseFuse, with its radius r = 1. Open there: the border; positions
    outside count as zero for both, so the weights come from those inside alone.
    """
    return _weighted_mean(infrared, visible, _local_l1(infrared), _local_l1(visible))


def nuclear_norm(infrared: Tensor, visible: Tensor) -> Tensor:
    """Weigh each channel by the nuclear norm of its H x W matrix, the sum of its singular values.

    ``a[c]`` = sum of the singular values of ``features[c]``; one weight per channel and image.

    Table 4, "l*-norm"; NestFuse's channel attention with nuclear-norm pooling. A singular value
    decomposition for every channel costs far more than the networks themselves on large maps, and ONNX
    and OpenVINO have none: it runs on the torch engine alone, and the other engines refuse it. It is computed in
    float32 at least, since torch has none in half precision.
    """
    return _weighted_mean(infrared, visible, _nuclear(infrared), _nuclear(visible))


def spatial_channel_attention(infrared: Tensor, visible: Tensor) -> Tensor:
    """Return the mean of a fusion weighted by position and one weighted by channel.

    Spatial: ``a(x, y)`` = sum over c of ``|features[c](x, y)|``. Channel: ``a[c]`` = mean over all
    positions of ``|features[c]|``. Fused = 0.5 * spatial + 0.5 * channel.

    Table 4, "SCA"; NestFuse, of whose variants section 4.7 chooses the l1-norm and average pooling.
    """
    spatial = _weighted_mean(infrared, visible, _pixel_l1(infrared), _pixel_l1(visible))
    channel = _weighted_mean(infrared, visible, _channel_average(infrared), _channel_average(visible))
    return 0.5 * (spatial + channel)


STRATEGIES: dict[str, Strategy] = {
    "add": add,
    "max": maximum,
    "l1_norm": l1_norm,
    "nuclear_norm": nuclear_norm,
    "spatial_channel_attention": spatial_channel_attention,
}
"""Name of a strategy, as settings spell it -> its function."""


def _weighted_mean(infrared: Tensor, visible: Tensor, activity_ir: Tensor, activity_vi: Tensor) -> Tensor:
    total = activity_ir + activity_vi + _EPSILON
    return infrared * (activity_ir / total) + visible * (activity_vi / total)


def _pixel_l1(features: Tensor) -> Tensor:
    # The mean is the norm divided by C, which cancels in the weights and does not overflow half precision.
    return torch.mean(torch.abs(features), dim=1, keepdim=True)  # B, 1, H, W


def _local_l1(features: Tensor) -> Tensor:
    return F.avg_pool2d(_pixel_l1(features), kernel_size=3, stride=1, padding=1)


def _channel_average(features: Tensor) -> Tensor:
    return torch.mean(torch.abs(features), dim=(2, 3), keepdim=True)  # B, C, 1, 1


def _nuclear(features: Tensor) -> Tensor:
    norms = torch.linalg.svdvals(features.float()).sum(dim=-1)  # B, C
    return norms[:, :, None, None].type_as(features)
