"""Random crops of registered pairs: the same window and flip for both images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fusion_ros.errors import ImageError

from .pairs import Pair

__all__ = ["CropSampler", "as_tensor"]

Images = tuple[np.ndarray, np.ndarray]


class CropSampler:
    """Batches of joint random crops: every pair once an epoch, in an order and at places drawn anew.

    What an epoch holds depends on the seed and on the epoch's number alone, so a run that is resumed
    at an epoch sees exactly what an unbroken one would.

    Args:
        pairs: What to sample from.
        crop: Side of the square crop in pixels.
        batch: Crops a batch; the last batch of an epoch may be smaller.
        seed: Seed of order, places and flips.
        keep_in_memory: Read all pairs now and keep them; otherwise each is read now to
            check it, and again whenever it is due.

    Raises:
        ImageError: An image is unreadable or smaller than the crop.
    """

    def __init__(self, pairs: Sequence[Pair], *, crop: int, batch: int, seed: int, keep_in_memory: bool) -> None:
        self.pairs = tuple(pairs)
        self.crop = crop
        self.batch = batch
        self.seed = seed
        if keep_in_memory:
            self._images: list[Images] | None = [self._read(pair) for pair in self.pairs]
        else:
            self._images = None
            for pair in self.pairs:
                self._read(pair)  # an unusable image is named now, not an hour from now

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.pairs) // self.batch)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield infrared and visible batches, each ``(B, 1, crop, crop)`` float32 in [0, 1]."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.pairs))
        for start in range(0, len(order), self.batch):
            crops = [self._crop(self._load(index), rng) for index in order[start : start + self.batch]]
            infrared, visible = zip(*crops, strict=True)
            yield as_tensor(np.stack(infrared)), as_tensor(np.stack(visible))

    def _load(self, index: int) -> Images:
        return self._images[index] if self._images is not None else self._read(self.pairs[index])

    def _read(self, pair: Pair) -> Images:
        images = pair.read()
        if min(images[0].shape) < self.crop:
            raise ImageError(
                f"pair {pair.name!r}: expected at least {self.crop} x {self.crop} pixels, got {images[0].shape}; "
                "use a smaller crop or leave the pair out"
            )
        return images

    def _crop(self, images: Images, rng: np.random.Generator) -> Images:
        height, width = images[0].shape
        top = rng.integers(height - self.crop + 1)
        left = rng.integers(width - self.crop + 1)
        mirror = slice(None, None, -1) if rng.random() < 0.5 else slice(None)
        window = (slice(top, top + self.crop), slice(left, left + self.crop))
        return images[0][window][:, mirror], images[1][window][:, mirror]


def as_tensor(luma: np.ndarray) -> Tensor:
    """Return ``(B, H, W)`` or ``(H, W)`` uint8 luma as ``(B, 1, H, W)`` float32 in [0, 1]."""
    if luma.ndim == 2:
        luma = luma[None]
    return torch.from_numpy(luma.astype(np.float32) / np.float32(255)).unsqueeze(1)
