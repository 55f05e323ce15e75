"""ReCoNet's fuser rearranged to move few bytes: the same function of the same weights.

The plain module writes and reads maps of 3 x 64 channels, at 640x480 a quarter of a gigabyte in
each of its three recurrences, to produce one channel. Four exact rewritings keep them small:

1. BatchNorm is folded into the convolution before it.
2. The fusing 3x3 convolution, 192 -> 1, becomes a 1x1 convolution, 192 -> 9, one channel for each
   tap of the kernel, followed by adding the nine channels, each shifted by its tap's offset. The
   zero padding moves from the 192 maps to the 9.
3. The 1x1 convolution has no neighbourhood, so the image can be cut into horizontal strips, and a
   strip's wide maps never leave the cache. Strips overlap in nothing but 3 rows of the
   three-channel input.
4. The 1x1 convolution is split over the three dilations, whose results are added: no 192-channel
   concatenation exists, and one dilation's 64 maps are all that is alive at a time.

Shifting and adding is itself two small convolutions with constant ones: over columns (9 -> 3) while
the strip is in the cache, and over rows (3 -> 1) once the strips are joined.
"""

from __future__ import annotations

import copy
import operator
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .reconet import BiphasicAttention, ReCoNetFuser
from .reconet_joint import ReCoNet

__all__ = ["ReCoNetJointStrips", "ReCoNetStrips"]

_TAPS = 3  # rows and columns of the fusing kernel


class ReCoNetStrips(nn.Module):
    """A :class:`ReCoNetFuser` for one image size, to be run, not trained.

    Args:
        network: The trained fuser. Its weights are copied; it is not changed.
        height: Rows of every image that will come.
        width: Columns of every image that will come.
        cache_bytes: Size of the float32 maps of one dilation in one strip; None makes one strip of
            the whole image.
    """

    def __init__(self, network: ReCoNetFuser, height: int, width: int, cache_bytes: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.recurrences = network.settings.recurrences
        self.attend_infrared = _SplitAttention(network.attend_infrared)
        self.attend_visible = _SplitAttention(network.attend_visible)
        self.dilated = nn.ModuleList(_folded(conv, norm) for conv, norm, _ in network.dilated)
        self.halo = max(conv.dilation[0] for conv in self.dilated)
        channels = self.dilated[0].out_channels
        fuse = _folded(network.fuse[0], network.fuse[1])
        by_tap = fuse.weight[0].permute(1, 2, 0).reshape(_TAPS**2, -1, 1, 1)  # tap, channel, 1, 1
        self.weigh = nn.ModuleList(_conv(part) for part in by_tap.split(channels, dim=1))
        self.add_columns = _conv(_ones_at_columns(), padding=(0, 1))
        self.add_rows = _conv(_ones_at_rows(), fuse.bias, padding=(1, 0))
        self.strips = _strips(height, 4 * width * channels, cache_bytes)
        self.requires_grad_(False)
        self.eval()

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two ``(B, 1, height, width)`` images in [0, 1]; see :meth:`ReCoNetFuser.forward`."""
        fused = torch.maximum(infrared, visible)
        for _ in range(self.recurrences):
            seen_infrared = infrared * self.attend_infrared(infrared, fused)
            seen_visible = visible * self.attend_visible(visible, fused)
            u = F.pad(torch.cat([seen_infrared, fused, seen_visible], dim=1), (self.halo,) * 4)
            parts = [self._row_sums(u, top, bottom) for top, bottom in self.strips]
            fused = torch.tanh(self.add_rows(torch.cat(parts, dim=2)))
        return fused

    def _row_sums(self, u: Tensor, top: int, bottom: int) -> Tensor:
        """Return, for rows [top, bottom), what each row of the fusing kernel sees: ``(B, 3, rows, W)``."""
        parts = []
        for conv, weigh in zip(self.dilated, self.weigh, strict=True):
            reach = conv.dilation[0]
            first, beyond = self.halo - reach, self.halo + reach  # of the part of u that this dilation sees
            window = u[:, :, top + first : bottom + beyond, first : self.width + beyond]
            parts.append(weigh(torch.relu(conv(window))))  # B, 9, rows, W
        taps = reduce(operator.add, parts)
        return self.add_columns(taps)


class ReCoNetJointStrips(nn.Module):
    """A :class:`ReCoNet` for one image size, its fuser in strips; arguments as of :class:`ReCoNetStrips`."""

    def __init__(self, network: ReCoNet, height: int, width: int, cache_bytes: int | None = None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.fuser = ReCoNetStrips(network.fuser, height, width, cache_bytes)
        self.requires_grad_(False)
        self.eval()

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Align and fuse two ``(B, 1, height, width)`` images; see :meth:`ReCoNet.forward`."""
        return self.fuser(*self.network.registered(infrared, visible))


class _SplitAttention(nn.Module):
    """A :class:`BiphasicAttention` whose two-channel convolution is two of one channel, added."""

    def __init__(self, attention: BiphasicAttention) -> None:
        super().__init__()
        weight = attention.conv.weight.detach()
        self.of_maximum = _conv(weight[:, :1], padding=1)
        self.of_sum = _conv(weight[:, 1:] / 2, padding=1)  # the mean of two is half their sum

    def forward(self, source: Tensor, fused: Tensor) -> Tensor:
        return torch.sigmoid(self.of_maximum(torch.maximum(source, fused)) + self.of_sum(source + fused))


def _strips(height: int, bytes_per_row: int, cache_bytes: int | None) -> tuple[tuple[int, int], ...]:
    """Cut ``height`` rows into strips of nearly equal height: ``((top, bottom), ...)``."""
    count = 1 if cache_bytes is None else -(-height // max(1, cache_bytes // bytes_per_row))
    edges = [height * i // count for i in range(count + 1)]
    return tuple(pairwise(edges))


def _conv(weight: Tensor, bias: Tensor | None = None, **geometry: object) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], bias=bias is not None, **geometry)
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None:
            conv.bias.copy_(bias)
    return conv


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Fold a normalisation by running statistics into the (then unpadded) convolution before it."""
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = (conv.bias.detach().double() - norm.running_mean.double()) * scale + norm.bias.detach().double()
    return _conv(conv.weight.detach().double() * scale[:, None, None, None], bias, dilation=conv.dilation)


def _ones_at_columns() -> Tensor:
    """Return the kernel ``(3, 9, 1, 3)`` that adds the taps of each kernel row, shifted by their column."""
    kernel = torch.zeros(_TAPS, _TAPS**2, 1, _TAPS)
    for row in range(_TAPS):
        for column in range(_TAPS):
            kernel[row, _TAPS * row + column, 0, column] = 1
    return kernel


def _ones_at_rows() -> Tensor:
    """Return the kernel ``(1, 3, 3, 1)`` that adds the row sums, shifted by their row."""
    return torch.eye(_TAPS).reshape(1, _TAPS, _TAPS, 1)
