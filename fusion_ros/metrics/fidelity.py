"""Metrics of fidelity: how much of what the sources tell a viewer can still be seen in the fused image.

An image is taken for a source of information, and each pixel's surroundings in the fused image for the same
seen through a gain ``g`` and a noise ``v``. The eye adds a noise of its own, ``n``; the ratio of what can be
told with and without fusion is the fidelity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from .filters import LocalMoments, gaussian_mean, gaussian_taps, strips
from .spec import MetricSpec, Needs, Variant
from .triple import Triple
from .wavelet_fidelity import wavelet_01_infrared, wavelet_01_mean, wavelet_01_visible, wavelet_255_mean

__all__ = ["VISUAL_FIDELITY"]

_I, _V, _F = range(3)
_SIDES = (17, 9, 5, 3)
_SMALLEST = 41  # pixels that leave the window of the coarsest scale one place
_TOLERANCE = 1e-10
_EYE = 2.0
_EYE_HAN = 0.005 * 255.0**2
_WEIGHTS_HAN = (1.0, 0.0, 0.15, 1.0)

Channel = tuple[np.ndarray, np.ndarray, np.ndarray]


def _scales(triple: Triple) -> list[Sequence[np.ndarray]]:
    """Return the images at four scales, finest first, each filtered and decimated by 2 from the one before.

    Source: Sheikh, Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15, 2006, in its
    authors' version in the pixel domain.
    """
    scales: list[Sequence[np.ndarray]] = [triple.images]
    for side in _SIDES[1:]:
        taps = gaussian_taps(side, side / 5.0)
        parts = [[gaussian_mean(image, taps)[::2, ::2] for image in strip] for strip in strips(scales[-1], side)]
        scales.append([np.concatenate(rows) for rows in zip(*parts, strict=True)])
    return scales


def _channels(images: Sequence[np.ndarray], side: int) -> Iterator[tuple[Channel, Channel]]:
    """Yield the channels of the infrared and of the visible image, strip by strip."""
    taps = gaussian_taps(side, side / 5.0)
    for strip in strips(images, side):
        # Variances do not know the middle grey; without it a flat place comes closer to the 0 that it is.
        moments = LocalMoments([image - 128.0 for image in strip], lambda image: gaussian_mean(image, taps))
        yield _channel(moments, _I), _channel(moments, _V)


def _channel(moments: LocalMoments, source: int) -> Channel:
    """Return gain ``g``, noise ``v`` and the variance ``s`` of the source at each place of the window."""
    variance, fused = (np.maximum(moments.variance(index), 0.0) for index in (source, _F))
    shared = moments.covariance(source, _F)
    gain = shared / (variance + _TOLERANCE)
    # Nothing is passed on from or to a flat place, and of a negative nothing but noise.
    gain *= (variance >= _TOLERANCE) & (fused >= _TOLERANCE)
    np.maximum(gain, 0.0, out=gain)
    noise = np.maximum(fused - gain * shared, _TOLERANCE)
    variance *= variance >= _TOLERANCE
    return gain, noise, variance


def _kept(channel: Channel, eye: float) -> np.ndarray:
    """Return ``1 + g^2 s / (v + n)``, whose logarithm is what is told of the source through the fused image."""
    gain, noise, variance = channel
    return 1.0 + gain * gain * variance / (noise + eye)


def _fidelities(triple: Triple) -> tuple[float, float]:
    """Return VIF of the fused image with infrared and with visible for reference; NaN for a flat one.

    ``sum log(1 + g^2 s / (v + n)) / sum log(1 + s / n)`` over places and scales, ``n = 2``.
    """
    kept, present = np.zeros(2), np.zeros(2)
    if min(triple.size) >= _SMALLEST:
        for side, images in zip(_SIDES, triple.once(_scales), strict=True):
            for channels in _channels(images, side):
                kept += [cv2.log(_kept(channel, _EYE)).sum() for channel in channels]
                present += [cv2.log(1.0 + variance / _EYE).sum() for _, _, variance in channels]
    infrared, visible = np.divide(kept, present, out=np.full(2, np.nan), where=present > 0.0)
    return float(infrared), float(visible)


def _fidelity_infrared(triple: Triple) -> float:
    return triple.once(_fidelities)[0]


def _fidelity_visible(triple: Triple) -> float:
    return triple.once(_fidelities)[1]


def _fidelity_sum(triple: Triple) -> float:
    return sum(triple.once(_fidelities))


def _fusion_fidelity(triple: Triple) -> float:
    """Return VIFF: at each place that source counts which the fused image passes on with the smaller gain.

    1 where both sources are flat, which leave nothing to pass on; NaN below 41 x 41 pixels.

    Source: Han, Cai, Cao, Xu, "A new image fusion performance metric based on visual information fidelity",
    Information Fusion 14, 2013.
    """
    if min(triple.size) < _SMALLEST:
        return float("nan")
    scales = zip(_WEIGHTS_HAN, _SIDES, triple.once(_scales), strict=True)
    total = sum(weight * _fusion_ratio(images, side) for weight, side, images in scales if weight > 0.0)
    return total / sum(_WEIGHTS_HAN)


def _fusion_ratio(images: Sequence[np.ndarray], side: int) -> float:
    # The ratio knows no base of its logarithms, but 1e-7 is added to those to base 10.
    offset = 1e-7 * math.log(10.0)
    kept = present = 0.0
    for infrared, visible in _channels(images, side):
        takes_infrared = infrared[0] < visible[0]
        chosen = tuple(np.where(takes_infrared, i, v) for i, v in zip(infrared, visible, strict=True))
        kept += float(cv2.log(_kept(chosen, _EYE_HAN)).sum()) + chosen[0].size * offset
        present += float(cv2.log(1.0 + chosen[2] / _EYE_HAN).sum()) + chosen[0].size * offset
    return kept / present


_UNBOUNDED = (0.0, float("inf"))

VISUAL_FIDELITY = MetricSpec(
    "VIF",
    "visual information fidelity",
    (
        Variant(
            "viff_han",
            _fusion_fidelity,
            _UNBOUNDED,
            "VIFF, pixel domain; at each place the source counts that is passed on less: the tables of DIDFuse. "
            "NaN below 41 x 41 pixels.",
        ),
        Variant(
            "vifp_sum",
            _fidelity_sum,
            _UNBOUNDED,
            "VIF(IR, F) + VIF(VIS, F) in the pixel domain, the source the reference. NaN below 41 x 41 pixels.",
        ),
        Variant("vifp_ir", _fidelity_infrared, _UNBOUNDED, "The term VIF(IR, F) of vifp_sum alone."),
        Variant("vifp_vis", _fidelity_visible, _UNBOUNDED, "The term VIF(VIS, F) of vifp_sum alone."),
        Variant(
            "wavelet_01_mean",
            wavelet_01_mean,
            _UNBOUNDED,
            "Mean over the sources of VIF in the wavelet domain, images on 0..1 although the eye's noise is meant "
            "for 0..255: the column 'VIFm' of LRRNet. NaN below 72 x 72 pixels.",
            requires="pyrtools",
        ),
        Variant(
            "wavelet_01_ir",
            wavelet_01_infrared,
            _UNBOUNDED,
            "The term VIF(IR, F) of wavelet_01_mean alone.",
            requires="pyrtools",
        ),
        Variant(
            "wavelet_01_vis",
            wavelet_01_visible,
            _UNBOUNDED,
            "The term VIF(VIS, F) of wavelet_01_mean alone.",
            requires="pyrtools",
        ),
        Variant(
            "wavelet_255_mean",
            wavelet_255_mean,
            _UNBOUNDED,
            "As wavelet_01_mean of images on 0..255: VIF as its authors meant it.",
            requires="pyrtools",
        ),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Sheikh, Bovik, IEEE Trans. Image Processing 15, 2006; VIFF: Han et al., Information Fusion 14, 2013",
)
