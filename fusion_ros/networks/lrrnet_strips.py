"""LRRNet rearranged to move few bytes: the same function of the same weights.

The plain module writes and reads maps of 256 channels, at 640x480 a third of a gigabyte, about ten
times in each of ten steps, and its 3x3 convolutions from 256 channels to one leave wide units idle.
Four exact rewritings mend both:

1. A 3x3 convolution to one channel becomes a 1x1 convolution to 9, one channel for each tap of the
   kernel, followed by adding the nine channels, each shifted by its tap's offset. The reflection at
   the image's border moves from the 256 maps to the 9.
2. The 1x1 convolution has no neighbourhood, so the image can be cut into horizontal strips. What a
   step makes of a strip, it makes while the strip is in the cache; only the coefficients that the
   next step wants are written to memory, and read once.
3. The low-rank and the sparse coefficients meet in one channel only: they are computed one after the
   other, which halves the maps that are alive in a strip.
4. The soft threshold is the value less itself clamped to the threshold: no sign is computed. The bias
   before a convolution with reflected borders is a part of the bias after it.

Shifting and adding is itself two small convolutions with constant ones: over columns (9 -> 3) and over
rows (3 -> 1).
"""

from __future__ import annotations

import operator
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .lrrnet import LLRRBranch, LRRNet

__all__ = ["LRRNetStrips"]

_TAPS = 3  # rows and columns of every kernel
# A strip is about 260 operations, for which an engine that compiles takes an eighth of a second. Beyond
# 32 strips that time grows as before, and the time of a frame falls by less than a tenth.
_MOST_STRIPS = 32
# Its square makes values steep enough to be their sign: all but those below a billionth of the threshold.
# Multiplied by in two turns, as half precision can hold it but not its square.
_STEEP = 2.0**15


class LRRNetStrips(nn.Module):
    """An :class:`LRRNet` for one image size, to be run, not trained.

    Args:
        network: The trained network. Its weights are copied; it is not changed.
        height: Rows of every image that will come, at least 2.
        width: Columns of every image that will come, at least 2.
        cache_bytes: Size of the float32 maps of one image's low-rank coefficients in one strip, as far
            as 32 strips allow; None makes one strip of the whole image.
    """

    def __init__(self, network: LRRNet, height: int, width: int, cache_bytes: int | None = None) -> None:
        super().__init__()
        self.strips = _strips(height, 4 * width * network.settings.channels, cache_bytes)
        low_rank = (network.reconstruct_low_rank_infrared, network.reconstruct_low_rank_visible)
        sparse = (network.reconstruct_sparse_infrared, network.reconstruct_sparse_visible)
        self.infrared = _Branch(network.infrared, low_rank[0], sparse[0], self.strips)
        self.visible = _Branch(network.visible, low_rank[1], sparse[1], self.strips)
        # Of each part its infrared and its visible image; to add them is to weigh both alike.
        merges = (network.merge_low_rank, network.merge_sparse)
        weight = torch.cat([merge.weight.detach().expand(1, 2, _TAPS, _TAPS) for merge in merges], dim=1)
        before = torch.cat([part.bias.detach() for part in (*low_rank, *sparse)])
        self.merge_weight = _fixed(weight)
        self.merge_bias = _fixed(_through(weight, before) + sum(merge.bias.detach() for merge in merges))
        self.eval()

    def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
        """Fuse two ``(B, 1, height, width)`` images; see :meth:`LRRNet.forward`."""
        low_infrared, sparse_infrared = self.infrared(infrared)
        low_visible, sparse_visible = self.visible(visible)
        parts = torch.cat([low_infrared, low_visible, sparse_infrared, sparse_visible], dim=1)
        return F.conv2d(_reflected(parts), self.merge_weight, self.merge_bias)


class _Branch(nn.Module):
    """One image's decomposition and what the decoder makes of it, step by step, strip by strip."""

    def __init__(
        self, branch: LLRRBranch, low_rank: nn.Conv2d, sparse: nn.Conv2d, strips: tuple[tuple[int, int], ...]
    ) -> None:
        super().__init__()
        self.strips = strips
        self.steps = len(branch.blocks) + 1
        self.low_rank = _Half(branch, slice(0, branch.channels), low_rank)
        self.sparse = _Half(branch, slice(branch.channels, None), sparse)
        columns = torch.eye(_TAPS**2).reshape(_TAPS, _TAPS, _TAPS**2).permute(0, 2, 1)  # row, tap, column
        self.add_columns = _fixed(columns.unsqueeze(2))
        self.add_rows = _fixed(torch.eye(_TAPS).reshape(1, _TAPS, _TAPS, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the low-rank and the sparse part, less their biases; all are ``(B, 1, H, W)``."""
        low: list[Tensor | None] = [None] * len(self.strips)  # coefficients of every strip
        sparse = list(low)
        residual = image
        for step in range(self.steps):
            source = _reflected(residual)
            low_taps, sparse_taps = [], []
            for strip, (top, bottom) in enumerate(self.strips):
                window = source[:, :, top : bottom + 2]
                low[strip], taps = self.low_rank(step, window, low[strip])
                low_taps.append(taps)
                sparse[strip], taps = self.sparse(step, window, sparse[strip])
                sparse_taps.append(taps)
            if step + 1 < self.steps:
                taps = map(operator.add, low_taps, sparse_taps)
                residual = image + self._sum_of_taps(list(taps))
        return self._sum_of_taps(low_taps), self._sum_of_taps(sparse_taps)

    def _sum_of_taps(self, strips: list[Tensor]) -> Tensor:
        """Return the result ``(B, 1, H, W)`` of a convolution from its taps ``(B, 9, rows, W)`` in strips."""
        taps = torch.cat(strips, dim=2) if len(strips) > 1 else strips[0]
        return F.conv2d(F.conv2d(_reflected(taps), self.add_columns), self.add_rows)


class _Half(nn.Module):
    """The low-rank or the sparse coefficients of one image: what every step does with them."""

    def __init__(self, branch: LLRRBranch, channels: slice, reconstruct: nn.Conv2d) -> None:
        super().__init__()
        threshold = branch.threshold.detach()[0, channels].reshape(1, -1, 1, 1)
        self.zeta = _fixed(branch.zeta.reshape(1, 1, 1, 1))
        self.upper = _fixed(threshold.abs())
        self.lower = _fixed(-threshold.abs())
        # A negative threshold drives a value away from 0: what is clamped is the value made so steep
        # that only its sign is left, and what the clamp leaves is added, not subtracted.
        negative = threshold < 0
        factors = (-_STEEP, _STEEP) if bool(negative.any()) else ()
        self.gains = nn.ParameterList(_fixed(torch.where(negative, factor, 1.0)) for factor in factors)
        self.analyse_weights, self.analyse_biases = nn.ParameterList(), nn.ParameterList()
        self.tap_weights = nn.ParameterList()
        before = torch.zeros(1)  # bias of the convolution that the analysed residual comes from
        for analyse, synthesise in zip(
            [branch.embed, *(block.analyse for block in branch.blocks)],
            [*(block.synthesise for block in branch.blocks), None],
            strict=True,
        ):
            weight = analyse.weight.detach()[channels]
            self.analyse_weights.append(_fixed(weight))
            self.analyse_biases.append(_fixed(analyse.bias.detach()[channels] - _through(weight, before)))
            if synthesise is not None:
                before = synthesise.bias.detach()
                self.tap_weights.append(_fixed(-_by_tap(synthesise.weight[:, channels])))
        self.tap_weights.append(_fixed(_by_tap(reconstruct.weight)))

    def forward(self, step: int, window: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take one step in one strip.

        Args:
            step: Its number; 0 is the embedding.
            window: The image, or what is left of it, ``(B, 1, rows + 2, W + 2)``.
            before: Coefficients after the step before, ``(B, channels, rows, W)``; None before the first.

        Returns:
            The coefficients, and for each tap of the convolution that follows what it adds, not yet
            shifted, ``(B, 9, rows, W)``. A residual's taps have their sign turned: they are to be added.
        """
        u = F.conv2d(window, self.analyse_weights[step], self.analyse_biases[step])
        if before is not None:
            u = u + self.zeta * before
        z = u - torch.clamp(reduce(operator.mul, self.gains, u), self.lower, self.upper)
        return z, F.conv2d(z, self.tap_weights[step])


def _strips(height: int, bytes_per_row: int, cache_bytes: int | None) -> tuple[tuple[int, int], ...]:
    """Cut ``height`` rows into strips of nearly equal height: ``((top, bottom), ...)``."""
    count = 1 if cache_bytes is None else -(-height // max(1, cache_bytes // bytes_per_row))
    count = min(count, _MOST_STRIPS)
    return tuple(pairwise(height * i // count for i in range(count + 1)))


def _by_tap(weight: Tensor) -> Tensor:
    """Return the 1x1 kernel ``(9, C, 1, 1)`` that gives what each tap of ``(1, C, 3, 3)`` adds."""
    return weight.detach()[0].permute(1, 2, 0).reshape(_TAPS**2, -1, 1, 1)


def _through(weight: Tensor, constants: Tensor) -> Tensor:
    """Return what a convolution ``(O, I, 3, 3)`` with reflected borders makes of constant images ``(I,)``."""
    return (weight.double().sum(dim=(2, 3)) @ constants.to(weight.device, torch.double)).to(weight.dtype)


def _reflected(image: Tensor) -> Tensor:
    return F.pad(image, (1, 1, 1, 1), mode="reflect")


def _fixed(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
