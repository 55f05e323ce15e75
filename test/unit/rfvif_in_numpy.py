"""RFVIF's operations as the paper writes them, in plain NumPy, and what a comparison with them needs."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

C = 3  # channels of the parts under test


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def filled(module: nn.Module, seed=0) -> nn.Module:
    """Return the module in double precision, every parameter random, so that none can hide by being zero."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def run(module, *arrays, **options):
    with torch.no_grad():
        return module(*map(torch.from_numpy, arrays), **options).numpy()


def assert_same(actual, expected):
    """Assert that two arrays differ by no more than 1e-5 anywhere."""
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def conv(module: nn.Conv2d, x):
    """Return what the convolution gives of an image that is mirrored at its borders."""
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    reach, stride = weight.shape[-1] // 2, module.stride[0]
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    out = np.zeros((x.shape[0], weight.shape[0], -(-x.shape[2] // stride), -(-x.shape[3] // stride)))
    for row in range(out.shape[2]):
        for column in range(out.shape[3]):
            top, left = row * stride, column * stride
            patch = padded[:, :, top : top + weight.shape[2], left : left + weight.shape[3]]
            out[:, :, row, column] = np.tensordot(patch, weight, ([1, 2, 3], [1, 2, 3])) + bias
    return out


def chain(modules: nn.Sequential, x):
    """Return what several convolutions give, a leaky rectifier between each two."""
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[:-1]:
        x = leaky(conv(convolution, x))
    return conv(convolutions[-1], x)


def cat(*arrays):
    return np.concatenate(arrays, axis=1)


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def double(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def gathered(guide, features, side, temperature):
    """Equations 9 to 11: every vector rebuilt of its neighbours, each as far as it is like the guide."""
    reach = side // 2
    padded = np.pad(features, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    out = np.zeros_like(features)
    for b, y, x in np.ndindex(features.shape[0], *features.shape[2:]):
        vectors = padded[b, :, y : y + side, x : x + side].reshape(features.shape[1], -1).T
        weights = np.exp([cosine(vector, guide[b, :, y, x]) / temperature for vector in vectors])
        out[b, :, y, x] = (weights / weights.sum()) @ vectors
    return out


def suppressed(edges, features):
    """Equation 12: every vector strengthened as far as it is unlike the edges."""
    out = np.zeros_like(features)
    for b, y, x in np.ndindex(features.shape[0], *features.shape[2:]):
        f = features[b, :, y, x]
        out[b, :, y, x] = (1 - cosine(edges[b, :, y, x], f)) * f + f
    return out


def laplacian(image):
    p = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    stencil = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    windows = np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(2, 3))
    return (windows * stencil).sum((-2, -1))
