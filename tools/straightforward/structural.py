"""SSIM, MS-SSIM and VIF as one writes them down from their definitions, with SciPy and NumPy in double precision.

A second truth for the tests and the baseline of the benchmark: every formula stands for itself, nothing is
shared between two of them and nothing is arranged for speed. Each function takes three ``(H, W)`` uint8 images,
infrared, visible and fused, and returns one number. The images must be large enough, and not flat.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = [
    "ms_ssim_mef",
    "ms_ssim_mef_scale1",
    "ssim_mean_replicate",
    "ssim_sum_valid",
    "vif_viff_han",
    "vif_vifp_sum",
    "vif_wavelet_mean",
]

EPS = np.finfo(np.float64).eps


def gaussian(side, sigma):
    x = np.arange(side) - side // 2
    taps = np.exp(-(x**2) / (2 * sigma**2))
    return taps / taps.sum()


def gaussian_filter(image, side, sigma):
    taps = gaussian(side, sigma)
    return ndimage.correlate1d(
        ndimage.correlate1d(image, taps, axis=0, mode="nearest"), taps, axis=1, mode="nearest"
    )


def valid(image, side):
    half = side // 2
    return image[half : image.shape[0] - half, half : image.shape[1] - half]


# SSIM: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13, 2004, equation 13.


def ssim_map(reference, distorted):
    x, y = reference.astype(np.float64), distorted.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = gaussian_filter(x, 11, 1.5), gaussian_filter(y, 11, 1.5)
    var_x = gaussian_filter(x * x, 11, 1.5) - mean_x**2
    var_y = gaussian_filter(y * y, 11, 1.5) - mean_y**2
    cov = gaussian_filter(x * y, 11, 1.5) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * cov + c2) / (var_x + var_y + c2)


def ssim_sum_valid(infrared, visible, fused):
    """Return the sum over the sources of the mean SSIM where the window fits."""
    return float(valid(ssim_map(infrared, fused), 11).mean() + valid(ssim_map(visible, fused), 11).mean())


def ssim_mean_replicate(infrared, visible, fused):
    """Return the mean over the sources of the mean SSIM over all pixels, borders replicated."""
    return float((ssim_map(infrared, fused).mean() + ssim_map(visible, fused).mean()) / 2)


# MS-SSIM: Ma, Zeng, Wang, IEEE TIP 24, 2015, for two exposures; every patch as the vector that it is.


def patch_scores(a, b, f):
    """Return the scores of one row of patches; ``(n, 121)`` vectors of infrared, visible, fused."""
    a = a - a.mean(axis=1, keepdims=True)
    b = b - b.mean(axis=1, keepdims=True)
    norm_a, norm_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    e_a, e_b = norm_a + 0.001, norm_b + 0.001
    consistency = (np.linalg.norm(a + b, axis=1) + EPS) / (norm_a + norm_b + EPS)
    power = np.minimum(np.tan(np.pi / 2 * np.clip(consistency, EPS, 1 - EPS)), 10)
    w_a, w_b = (e_a / 11) ** power + EPS, (e_b / 11) ** power + EPS
    w_a, w_b = w_a / (w_a + w_b), w_b / (w_a + w_b)
    r = (w_a / e_a)[:, None] * a + (w_b / e_b)[:, None] * b
    norm_r = np.linalg.norm(r, axis=1)
    r *= (np.maximum(e_a, e_b) / np.where(norm_r > 0, norm_r, np.maximum(e_a, e_b)))[:, None]
    window = np.outer(gaussian(11, 1.5), gaussian(11, 1.5)).ravel()
    r_centred = r - (r @ window)[:, None]
    f_centred = f - (f @ window)[:, None]
    cov = (r_centred * f_centred) @ window
    c = (0.03 * 255) ** 2
    return (2 * cov + c) / (r_centred**2 @ window + f_centred**2 @ window + c)


def mef_scale(a, b, f):
    scores = []
    for top in range(a.shape[0] - 10):
        rows = [
            np.lib.stride_tricks.sliding_window_view(image[top : top + 11], (11, 11))[0].reshape(-1, 121)
            for image in (a, b, f)
        ]
        scores.append(patch_scores(*rows))
    return np.mean(scores)


def halved(image):
    padded = np.pad(image, ((0, 1), (0, 1)), mode="symmetric")
    means = (padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]) / 4
    return means[::2, ::2]


def ms_ssim_mef_scale1(infrared, visible, fused):
    """Return the multi-exposure fusion SSIM of the finest scale."""
    return float(mef_scale(*(image.astype(np.float64) for image in (infrared, visible, fused))))


def ms_ssim_mef(infrared, visible, fused):
    """Return the multi-exposure fusion SSIM over three scales; NaN where that of a scale is negative."""
    weights = np.array([0.0448, 0.2856, 0.3001])
    images = [image.astype(np.float64) for image in (infrared, visible, fused)]
    result = 1.0
    for weight in weights / weights.sum():
        score = mef_scale(*images)
        result *= score**weight if score >= 0 else np.nan
        images = [halved(image) for image in images]
    return float(result)


# VIF in the pixel domain: Sheikh, Bovik, IEEE TIP 15, 2006; VIFF: Han et al., Information Fusion 14, 2013.


def vif_statistics(reference, distorted):
    """Yield gain, noise and variance of the reference, ``g, v, s1``, per scale."""
    x, y = reference.astype(np.float64), distorted.astype(np.float64)
    for side in (17, 9, 5, 3):
        sigma = side / 5
        if side < 17:
            x = valid(gaussian_filter(x, side, sigma), side)[::2, ::2]
            y = valid(gaussian_filter(y, side, sigma), side)[::2, ::2]
        mean_x = valid(gaussian_filter(x, side, sigma), side)
        mean_y = valid(gaussian_filter(y, side, sigma), side)
        s1 = np.maximum(valid(gaussian_filter(x * x, side, sigma), side) - mean_x**2, 0)
        s2 = np.maximum(valid(gaussian_filter(y * y, side, sigma), side) - mean_y**2, 0)
        s12 = valid(gaussian_filter(x * y, side, sigma), side) - mean_x * mean_y
        g = s12 / (s1 + 1e-10)
        v = s2 - g * s12
        flat = s1 < 1e-10
        g[flat], v[flat], s1[flat] = 0, s2[flat], 0
        flat = s2 < 1e-10
        g[flat], v[flat] = 0, 0
        inverted = g < 0
        v[inverted], g[inverted] = s2[inverted], 0
        v[v < 1e-10] = 1e-10
        yield g, v, s1


def vifp(reference, distorted):
    kept = present = 0.0
    for g, v, s1 in vif_statistics(reference, distorted):
        kept += np.log10(1 + g**2 * s1 / (v + 2)).sum()
        present += np.log10(1 + s1 / 2).sum()
    return kept / present


def vif_vifp_sum(infrared, visible, fused):
    """Return the sum over the sources of the pixel-domain VIF, each source being the reference."""
    return float(vifp(infrared, fused) + vifp(visible, fused))


def vif_viff_han(infrared, visible, fused):
    """Return VIFF: at each pixel the source that the fused image amplifies less."""
    noise = 0.005 * 255**2
    result = 0.0
    scales = zip(vif_statistics(infrared, fused), vif_statistics(visible, fused), strict=True)
    for weight, (of_infrared, of_visible) in zip((1, 0, 0.15, 1), scales, strict=True):
        takes_infrared = of_infrared[0] < of_visible[0]
        g, v, s1 = (np.where(takes_infrared, a, b) for a, b in zip(of_infrared, of_visible, strict=True))
        kept = np.log10(1 + g**2 * s1 / (v + noise))
        present = np.log10(1 + s1 / noise)
        result += weight * (kept + 1e-7).sum() / (present + 1e-7).sum()
    return float(result / 2.15)


# VIF in the wavelet domain: Sheikh, Bovik, IEEE TIP 15, 2006, with vectors of 3 x 3 coefficients.


def wavelet_vif(reference, distorted):
    """Return VIF of two images of doubles; needs pyrtools, whose correlation takes the windows, too."""
    import pyrtools

    pyramids = [pyrtools.pyramids.SteerablePyramidSpace(x, height=4, order=5) for x in (reference, distorted)]
    kept = present = 0.0
    for level in range(4):
        for orientation in (0, 3):
            x, y = (pyramid.pyr_coeffs[level, orientation] for pyramid in pyramids)
            height, width = (length // 3 * 3 for length in x.shape)
            subband = subband_information(x[:height, :width], y[:height, :width], 2 ** (4 - level) + 1)
            kept, present = kept + subband[0], present + subband[1]
    return kept / present


def subband_information(x, y, side, tolerance=1e-15):
    import pyrtools

    def window_sum(image):
        stop = (image.shape[0] - 1, image.shape[1] - 1)
        return pyrtools.corrDn(image, np.ones((side, side)), "reflect1", (3, 3), (1, 1), stop)

    n = side**2
    mean_x, mean_y = window_sum(x) / n, window_sum(y) / n
    cov = window_sum(x * y) - n * mean_x * mean_y
    ss_x = np.maximum(window_sum(x * x) - n * mean_x**2, 0)
    ss_y = np.maximum(window_sum(y * y) - n * mean_y**2, 0)
    g = cov / (ss_x + tolerance)
    v = (ss_y - g * cov) / n
    g[ss_x < tolerance], v[ss_x < tolerance] = 0, ss_y[ss_x < tolerance]
    g[ss_y < tolerance], v[ss_y < tolerance] = 0, 0
    v[g < 0] = ss_y[g < 0]
    g[g < 0] = 0
    v[v <= tolerance] = tolerance

    overlapping = np.lib.stride_tricks.sliding_window_view(x, (3, 3)).reshape(-1, 9).T
    covariance = np.cov(overlapping, bias=True)
    blocks = np.lib.stride_tricks.sliding_window_view(x, (3, 3))[::3, ::3].reshape(-1, 9).T
    s = (np.linalg.inv(covariance) @ blocks * blocks).sum(axis=0).reshape(g.shape) / 9

    border = int(np.ceil((side - 1) / 2 / 3))
    g, v, s = (field[border:-border, border:-border] for field in (g, v, s))
    kept = present = 0.0
    for eigenvalue in np.linalg.eigvalsh(covariance):
        kept += np.log2(1 + g**2 * s * eigenvalue / (v + 0.4)).sum()
        present += np.log2(1 + s * eigenvalue / 0.4).sum()
    return kept, present


def vif_wavelet_mean(infrared, visible, fused, largest=1.0):
    """Return the mean over the sources of the wavelet-domain VIF, of images on 0 to ``largest``."""
    infrared, visible, fused = (image / 255 * largest for image in (infrared, visible, fused))
    return float((wavelet_vif(infrared, fused) + wavelet_vif(visible, fused)) / 2)
