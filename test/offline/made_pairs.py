"""Pairs of noise for the tests of training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.data.pairs import MemoryPair, PairImages
from training.data.sampler import SamplerSettings

__all__ = ["PLAIN", "SMALL", "noise", "pairs_of"]

SMALL = SamplerSettings(crop=32, batch=4)
PLAIN = replace(SMALL, flip=False, fit="centre")


def noise(seed, size=(48, 60)):
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def pairs_of(count, size=(48, 60)):
    """Pairs of noise, the visible image the negative of the infrared one."""
    images = [noise(seed, size) for seed in range(count)]
    return [MemoryPair(f"set/{i}", PairImages(image, 255 - image)) for i, image in enumerate(images)]
