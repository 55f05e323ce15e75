"""What several losses are made of, written plainly in NumPy and SciPy, in double precision."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage


def images(count, *shape, seed=3):
    """Return so many batches of random images in [0, 1], ``(count, 2, 1, H, W)`` float64, as tensors."""
    return torch.from_numpy(np.random.default_rng(seed).random((count, 2, 1, *shape)))


def sobel(image):
    """Return the derivatives along x and y of ``(H, W)``, the border pixel repeated."""
    kernel = np.outer([1, 2, 1], [-1, 0, 1]) / 8
    return np.stack([ndimage.correlate(image, k, mode="nearest") for k in (kernel, kernel.T)])


def similarity(a, b, span=1.0, border="valid"):
    """Return luminance, and contrast with structure, of two images, window by window; Wang et al., 2004."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2

    def mean(x):
        blurred = ndimage.correlate(x, window, mode="mirror")
        return blurred if border == "reflect" else blurred[5:-5, 5:-5]

    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a**2) - mean_a**2, mean(b**2) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_a + variance_b + c2)


def ssim(a, b, span=1.0, border="valid"):
    """Return the mean index of two batches of images, tensors ``(B, 1, H, W)``."""
    pairs = zip(a[:, 0].numpy(), b[:, 0].numpy(), strict=True)
    return np.mean([np.prod(similarity(x, y, span, border), axis=0) for x, y in pairs])


def halved(image):
    """Return the means of 2 x 2 pixels of ``(H, W)``, an odd last row or column left out."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def gradients_agree(loss, *inputs):
    """Whether the derivatives of a loss are those of its values, along random directions of its inputs."""
    torch.manual_seed(0)
    copies = [x.detach().clone().requires_grad_() for x in inputs]
    return torch.autograd.gradcheck(loss, copies, fast_mode=True)
