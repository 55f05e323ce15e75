"""The tracking loss: how well a correlation filter finds again what it was shown.

The filter is learned from a template in closed form, in the Fourier domain, and its response on another view is
compared with what it ought to be; the gradient passes through both. Wang et al., "DCFNet: Discriminant Correlation
Filters Network for Visual Tracking", arXiv:1704.04057, 2017, and Valmadre et al., "End-to-end representation
learning for Correlation Filter based tracking" (CFNet), CVPR 2017. The filter is the multi-channel one whose
channels share the denominator: Danelljan et al., "Accurate Scale Estimation for Robust Visual Tracking" (DSST),
BMVC 2014.

Cells are counted from 0 along x and y. A response is circular: its peak lies at the displacement, and negative
ones count from the far end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import full_precision

__all__ = ["filter_response", "found_displacement", "hits", "tracking_loss"]

_LABEL = 1.0  # cells: deviation of the Gaussian that the response is to be
_RIDGE = 0.01  # of the mean energy of a frequency
_NEAR = 1.0  # cells: deviation of the Gaussian that says what is near enough to the truth
_SHARPNESS = 2.0
_TINY = 1e-12  # keeps what is divided by above 0 where there is nothing to see


@full_precision
def filter_response(template: Tensor, search: Tensor, *, label: float = _LABEL, ridge: float = _RIDGE) -> Tensor:
    """Return the response on ``search`` of the filter that is learned from ``template``.

    With X and Z the transforms of both, windowed, Y that of the label, and sums over the channels c::

        W_c = conj(X_c) Y / (sum |X_c|^2 + ridge * mean over frequencies of sum |X_c|^2)
        response = inverse transform of sum W_c Z_c

    So what is the windowed template moved circularly by d has its peak at d. Each channel's mean is taken away
    before the window, under which it would look like a target that never moves.

    Args:
        template: ``(B, C, h, w)`` features.
        search: The same shape.
        label: Deviation of the Gaussian response that is learned, in cells.
        ridge: Weight of the regularisation, relative to the template's energy.

    Returns:
        ``(B, h, w)`` float32 (or float64 for such features), at its largest about 1.
    """
    height, width = template.shape[-2:]
    window = _window(height, template)[:, None] * _window(width, template)
    shown, looked_at = (_centred(_full(features)) * window for features in (template, search))
    x, z = torch.fft.rfft2(shown), torch.fft.rfft2(looked_at)
    y = torch.fft.rfft2(_log_gaussian(shown.new_zeros(1, 2), (height, width), label).exp())
    energy = (x.real.square() + x.imag.square()).sum(dim=1)
    mean_energy = shown.square().sum(dim=(1, 2, 3))[:, None, None]  # by Parseval
    response = (x.conj() * z).sum(dim=1) * y / (energy + ridge * mean_energy + _TINY)
    return torch.fft.irfft2(response, s=(height, width))


@full_precision
def tracking_loss(response: Tensor, displacement: Tensor, *, sharpness: float = _SHARPNESS) -> Tensor:
    """Return how little of the response stands at the truth: ``-log sum over cells of g p``.

    p is the softmax over all cells of ``sharpness * (response - mean) / deviation``, with the response's own mean
    and deviation, and g a Gaussian of peak 1 and deviation 1 cell at the truth. So the scale of a response does
    not matter, a peak may have any shape within about a cell, and what costs is a rival elsewhere. (Cross-entropy
    with g asks for g's shape too; trained with that, features found less often what they were shown.)

    Args:
        response: ``(B, h, w)`` of :func:`filter_response`.
        displacement: ``(B, 2)`` in cells, x first, the true one.
        sharpness: What a standardised response is multiplied by.

    Returns:
        A scalar tensor: the mean over the batch, in nats, at least 0.
    """
    flat = response.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    deviation = torch.sqrt(centred.square().mean(dim=1, keepdim=True) + _TINY)
    likely = (sharpness * centred / deviation).log_softmax(dim=1)
    near = _log_gaussian(displacement.to(response), response.shape[-2:], _NEAR).flatten(1)
    return -(likely + near).logsumexp(dim=1).mean()


@full_precision
def found_displacement(response: Tensor) -> Tensor:
    """Return where the peak of ``(B, h, w)`` lies: ``(B, 2)`` whole cells, x first, at most half of the size."""
    height, width = response.shape[-2:]
    place = response.flatten(1).argmax(dim=1)
    found = torch.stack([place % width, place // width], dim=1)
    size = torch.tensor([width, height], device=found.device)
    return torch.where(found > (size - 1) // 2, found - size, found)


@full_precision
def hits(response: Tensor, displacement: Tensor) -> Tensor:
    """Return the share of peaks that lie within one cell of the truth along both axes, as a scalar tensor."""
    off = (found_displacement(response) - displacement).abs().amax(dim=1)
    return (off <= 1).to(displacement).mean()


def _centred(features: Tensor) -> Tensor:
    return features - features.mean(dim=(-2, -1), keepdim=True)


def _full(features: Tensor) -> Tensor:
    return features if features.dtype is torch.float64 else features.float()


def _window(length: int, like: Tensor) -> Tensor:
    """Return Hann's window, which is above 0 at both ends."""
    return torch.hann_window(length + 2, periodic=False, dtype=_full(like).dtype, device=like.device)[1:-1]


def _log_gaussian(centre: Tensor, size: tuple[int, int] | torch.Size, deviation: float) -> Tensor:
    """Return the logarithm of circular Gaussians of peak 1 at centres ``(B, 2)``, x first: ``(B, h, w)``."""
    across, down = (_circular_distance(centre[:, axis], size[1 - axis]) for axis in (0, 1))
    return -(down.square()[:, :, None] + across.square()[:, None, :]) / (2 * deviation**2)


def _circular_distance(centre: Tensor, length: int) -> Tensor:
    cells = torch.arange(length, dtype=centre.dtype, device=centre.device)
    return torch.remainder(cells - centre[:, None] + length / 2, length) - length / 2
