"""Metrics of information: what grey-level histograms say.

EN and SD need the fused image alone; MI and CE compare its histogram with those of the sources.
All counts are of the 256 grey levels of 8-bit images.
"""

from __future__ import annotations

import numpy as np

from .images import check_grey
from .spec import MetricSpec, Needs, Variant
from .triple import Triple

__all__ = ["CROSS_ENTROPY", "ENTROPY", "MUTUAL_INFORMATION", "entropy"]

_LEVELS = 256


def entropy(fused: np.ndarray) -> float:
    """Return EN, the Shannon entropy of the grey levels, in bits: 0 (flat) to 8.

    ``EN = -sum p_k log2 p_k`` over the 256 levels with ``p_k > 0``.

    Args:
        fused: ``(H, W)`` uint8.

    Source: Roberts et al., "Assessment of image fusion procedures using entropy, image quality,
    and multispectral classification", J. Appl. Remote Sens. 2008.
    """
    check_grey(fused, "fused")
    return _bits(np.bincount(fused.ravel(), minlength=_LEVELS))


def _bits(counts: np.ndarray) -> float:
    """Return the entropy of a histogram, in bits."""
    share = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(share * np.log2(share)).sum()))  # -(1 * log2 1) is -0.0


def _histograms(triple: Triple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    infrared, visible, fused = (np.bincount(image.ravel(), minlength=_LEVELS) for image in triple.images)
    return infrared, visible, fused


def _entropies(triple: Triple) -> tuple[float, float, float]:
    infrared, visible, fused = map(_bits, triple.once(_histograms))
    return infrared, visible, fused


def _entropy(triple: Triple) -> float:
    return triple.once(_entropies)[2]


def _information(triple: Triple) -> tuple[float, float]:
    """Return I(infrared; fused) and I(visible; fused) in bits, ``H(S) + H(F) - H(S, F)``."""
    infrared, visible, fused = triple.once(_entropies)
    joint = [_bits(_joint_counts(source, triple.fused)) for source in (triple.infrared, triple.visible)]
    return max(0.0, infrared + fused - joint[0]), max(0.0, visible + fused - joint[1])


def _joint_counts(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    index = a.ravel().astype(np.int64) * _LEVELS + b.ravel()
    return np.bincount(index, minlength=_LEVELS * _LEVELS)


def _information_bits(triple: Triple) -> float:
    return sum(triple.once(_information))


def _information_nats(triple: Triple) -> float:
    return sum(triple.once(_information)) * float(np.log(2.0))


def _normalised_information(triple: Triple) -> float:
    """``2 sum_S I(S; F) / (H(S) + H(F))``; NaN where a source and the fused image are both flat."""
    fused = triple.once(_entropies)[2]
    total = 0.0
    for shared, own in zip(triple.once(_information), triple.once(_entropies), strict=False):
        total += 2.0 * shared / (own + fused) if own + fused > 0.0 else float("nan")
    return total


def _twice_entropy(triple: Triple) -> float:
    return 2.0 * _entropy(triple)


def _divergences(triple: Triple) -> tuple[float, float]:
    infrared, visible, fused = (counts / counts.sum() for counts in triple.once(_histograms))
    return _divergence(infrared, fused), _divergence(visible, fused)


def _divergence(source: np.ndarray, fused: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence in bits over the levels that occur in both images.

    Levels that the fused image lacks are left out, as in the reference code; so it is no true
    divergence, and can be negative.
    """
    both = (source > 0) & (fused > 0)
    return float((source[both] * np.log2(source[both] / fused[both])).sum()) if both.any() else float("nan")


def _cross_entropy(triple: Triple) -> float:
    return sum(triple.once(_divergences)) / 2.0


def _cross_entropy_infrared(triple: Triple) -> float:
    return triple.once(_divergences)[0]


def _cross_entropy_visible(triple: Triple) -> float:
    return triple.once(_divergences)[1]


ENTROPY = MetricSpec(
    "EN",
    "entropy",
    (Variant("bits_256", _entropy, (0.0, 8.0), "Shannon entropy of the 256 grey levels, in bits."),),
    higher_is_better=True,
    needs=Needs.FUSED,
    source="Roberts et al., J. Appl. Remote Sens. 2, 2008",
)

MUTUAL_INFORMATION = MetricSpec(
    "MI",
    "mutual information",
    (
        Variant("sum_bits", _information_bits, (0.0, 16.0), "I(IR; F) + I(VIS; F) in bits."),
        Variant("sum_nats", _information_nats, (0.0, 11.0904), "I(IR; F) + I(VIS; F) in nats, as in VIFB."),
        Variant(
            "hossny_normalised",
            _normalised_information,
            (0.0, 2.0),
            "2 sum of I(S; F) / (H(S) + H(F)), Hossny et al., Electronics Letters 2008.",
        ),
        Variant(
            "twice_en",
            _twice_entropy,
            (0.0, 16.0),
            "Twice the entropy of the fused image: the column 'MI' of the RFN-Nest and LRRNet papers, in which no "
            "source enters. For comparing with those tables only.",
        ),
    ),
    higher_is_better=True,
    needs=Needs.TRIPLE,
    source="Qu, Zhang, Yan, Electronics Letters 38, 2002",
)

CROSS_ENTROPY = MetricSpec(
    "CE",
    "cross entropy",
    (
        Variant(
            "mean_kl_bits",
            _cross_entropy,
            (-24.0, 24.0),
            "Mean of KL(IR || F) and KL(VIS || F) in bits, over the levels that occur in both images, as in VIFB.",
        ),
        Variant("kl_bits_ir", _cross_entropy_infrared, (-24.0, 24.0), "The term KL(IR || F) alone."),
        Variant("kl_bits_vis", _cross_entropy_visible, (-24.0, 24.0), "The term KL(VIS || F) alone."),
    ),
    higher_is_better=False,
    needs=Needs.TRIPLE,
    source="Bulanon, Burks, Alchanatis, Biosystems Engineering 103, 2009; code: Zhang et al., VIFB, CVPRW 2020",
)
