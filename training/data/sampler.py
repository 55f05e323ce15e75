"""Batches of crops, each a function of the seed, the epoch and the step alone.

So a run that is resumed at any step goes on with the batch that an unbroken one would have seen, and neither the
number of worker processes nor the number of training processes changes what is trained on.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fusion_ros.errors import ImageError, SettingsError, shortened
from fusion_ros.settings import Settings, setting

from ..batch import Batch
from .augment import Sample, centre_window, grey_table, mirrored, random_window, resized
from .pairs import ImageStore, Pair, PairImages
from .simulate import Simulator, misaligned

__all__ = ["FITS", "PairSampler", "SamplerSettings"]

log = logging.getLogger(__name__)

FITS = ("crop", "centre", "resize", "resize_nearest")
_LARGEST_SHARE = 8  # of the crop: what fusion_ros.synthetic.misalign takes for a slight misalignment
_BEARABLE = 10  # one pair of so many may be unusable


@dataclass(frozen=True)
class SamplerSettings(Settings):
    """How pairs become batches; recipes inherit these settings, with defaults of their own."""

    crop: int = setting(128, "Side of the square images that are trained on.", unit="px", bounds=(16, None))
    fit: str = setting(
        "crop",
        "How an image becomes a square: a window at random, the window in its centre, or all of it resized, "
        "bilinearly or to the nearest pixel.",
        choices=FITS,
    )
    batch: int = setting(8, "Pairs in a batch, of all training processes together.", bounds=(1, None))
    flip: bool = setting(True, "Mirror every other pair, both images alike.")
    intensity: float = setting(
        0.0,
        "Strength of random changes of gamma, contrast and brightness, other ones for each image; 0 is off.",
        bounds=(0.0, 1.0),
    )
    keep_in_memory: bool = setting(
        True, "Read all images once at the start; turn off for sets larger than memory."
    )
    workers: int = setting(
        0, "Processes that prepare batches ahead; 0 prepares them in the training process.", bounds=(0, 64)
    )


class PairSampler:
    """Batches for :class:`training.recipe.Stage`: every pair once before any comes again, in an order drawn anew.

    A pair that is unreadable, or smaller than the crop, is named in a warning once; each time that it is due the
    next usable one of the order takes its place.

    Args:
        pairs: What to sample from.
        settings: How.
        seed: Seed of order, windows, flips, greys and simulated misalignment.
        simulator: Misaligns the infrared images; None leaves them as they are.
        per_epoch: Samples an epoch; None takes as many as there are pairs. Fewer go on in the next epoch where
            this one ended; more take pairs again, at other places.
        drop_last: Leave out the last batch of an epoch where it is smaller than the others.
        rank: Number of this training process, from 0.
        world: How many training processes share each batch.
        images: Where images are kept, shared with other samplers of the same pairs; None keeps them for this one.

    Attributes:
        steps_per_epoch: Batches in an epoch.

    Raises:
        SettingsError: There is nothing to sample, a batch cannot be shared equally, or the misalignment is too
            strong for the crop.
    """

    steps_per_epoch: int

    def __init__(
        self,
        pairs: Sequence[Pair],
        settings: SamplerSettings,
        *,
        seed: int,
        simulator: Simulator | None = None,
        per_epoch: int | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        images: ImageStore | None = None,
    ) -> None:
        self.pairs = tuple(pairs)
        self.settings = settings
        self.seed = seed
        self.simulator = simulator
        self.per_epoch = len(self.pairs) if per_epoch is None else per_epoch
        self.rank, self.world = rank, world
        whole, rest = divmod(self.per_epoch, settings.batch)
        self._last = 0 if drop_last else rest
        self.steps_per_epoch = whole + bool(self._last)
        self._images = ImageStore() if images is None else images
        self._unusable: dict[int, str] = {}
        self._check()

    def epoch(self, number: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield this process's share of the batches of epoch ``number`` (from 1), from ``first_step`` (from 0).

        Worker processes live as long as the iterator: until it is exhausted, closed or left by an exception.

        Raises:
            ImageError: More than a tenth of the pairs is unusable.
        """
        if self.settings.keep_in_memory:
            self._read_all()
        keys = [(number, step) for step in range(first_step, self.steps_per_epoch)]
        with closing(self._made(keys)) as made:
            for batch, unusable in made:
                self._note(unusable)
                if batch is not None:
                    yield batch

    def _made(self, keys: Sequence[tuple[int, int]]) -> Generator[_Made, None, None]:
        workers = min(self.settings.workers, len(keys))
        if workers == 0:
            yield from map(self._make, keys)
            return
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # ends OpenCV's threads, which a forked process would have lost without knowing it
        # A generator of its own: the loader would draw from torch's, which decides initial weights and dropout.
        own = torch.Generator()
        loader = DataLoader(
            _Batches(self),
            batch_size=None,
            sampler=keys,
            num_workers=workers,
            worker_init_fn=_leave_interrupts_to_the_main_process,
            generator=own,
        )
        try:
            batches = iter(loader)
        finally:
            cv2.setNumThreads(threads)
        try:
            yield from batches
        finally:
            del batches  # ends the workers now, not when the traceback of an exception is dropped

    def _make(self, key: tuple[int, int]) -> _Made:
        epoch, step = key
        start = step * self.settings.batch
        share = min(self.settings.batch, self.per_epoch - start) // self.world
        first = start + self.rank * share
        samples, unusable = [], {}
        for index in range(first, first + share):
            # From 1, since NumPy takes (seed, number, 0) for (seed, number), which draws the order.
            rng = np.random.default_rng((self.seed, epoch, index + 1))
            images = self._images_of((epoch - 1) * self.per_epoch + index, unusable)
            if images is None:
                return _Made(None, unusable)
            samples.append(_arrays(self._sample(images, rng), self.settings.intensity, rng))
        return _Made(Batch(*map(_stacked, zip(*samples, strict=True))), unusable)

    def _images_of(self, number: int, unusable: dict[int, str]) -> PairImages | None:
        """Return the images of the sample ``number`` of the whole run; None if too many pairs are unusable.

        Args:
            number: From 0.
            unusable: Takes the pairs that turn out to be, with the reason.
        """
        count = len(self.pairs)
        turn, place = divmod(number, count)
        order = _order(self.seed, turn, count)
        for ahead in range(count):
            index = int(order[(place + ahead) % count])
            if index in self._unusable or index in unusable:
                continue
            try:
                return self._read(index)
            except ImageError as error:
                unusable[index] = str(error)
            if self._are_too_many(self._unusable | unusable):
                break
        return None

    def _sample(self, images: PairImages, rng: np.random.Generator) -> Sample:
        side, fit = self.settings.crop, self.settings.fit
        if fit.startswith("resize"):
            images = resized(images, side, nearest=fit == "resize_nearest")
        size = images.visible.shape
        window = random_window(size, side, rng) if fit == "crop" else centre_window(size, side)
        sample = misaligned(images, window, self.simulator, rng)
        return mirrored(sample) if self.settings.flip and rng.random() < 0.5 else sample

    def _read(self, index: int) -> PairImages:
        pair, side = self.pairs[index], self.settings.crop
        images = self._images.read(pair)
        height, width = images.visible.shape
        if min(height, width) < side and not self.settings.fit.startswith("resize"):
            raise ImageError(
                f"pair {pair.name!r}: too small: expected at least {side} x {side} pixels, got {width} x "
                f"{height}; use a smaller crop, resize, or leave the pair out"
            )
        return images

    def _read_all(self) -> None:
        unusable: dict[int, str] = {}
        for index, pair in enumerate(self.pairs):
            if pair in self._images or index in self._unusable:
                continue
            try:
                self._images.keep(pair, self._read(index))
            except ImageError as error:
                unusable[index] = str(error)
        self._note(unusable)

    def _note(self, unusable: Mapping[int, str]) -> None:
        """Name pairs that were found unusable, once each, and refuse to go on where they are too many."""
        for index in unusable.keys() - self._unusable.keys():
            log.warning("left out: %s", unusable[index])
            self._unusable[index] = unusable[index]
        if self._are_too_many(self._unusable):
            names = shortened([repr(self.pairs[index].name) for index in sorted(self._unusable)])
            raise ImageError(
                f"expected at least nine in ten pairs to be usable, but {len(self._unusable)} of "
                f"{len(self.pairs)} are not: {names}; repair them or leave them out. The first: "
                f"{self._unusable[min(self._unusable)]}"
            )

    def _are_too_many(self, unusable: Mapping[int, str]) -> bool:
        return len(unusable) * _BEARABLE > len(self.pairs)

    def _check(self) -> None:
        batch, crop, world = self.settings.batch, self.settings.crop, self.world
        if not self.pairs:
            raise SettingsError("expected at least one pair to train on, got none")
        if self.steps_per_epoch < 1:
            raise SettingsError(
                f"expected a whole batch of {batch} in an epoch, got {self.per_epoch} sample(s); use a smaller "
                "batch or draw more samples an epoch"
            )
        if not 0 <= self.rank < world:
            raise SettingsError(f"expected a rank from 0 to {world - 1}, got {self.rank}")
        for size, way_out in ((batch, "change the batch"), (self._last, "drop the last batch of an epoch")):
            if size % world:
                raise SettingsError(
                    f"a batch of {size} cannot be shared equally among {world} training processes; {way_out}"
                )
        if self.simulator is not None and self.simulator.level * _LARGEST_SHARE > crop:
            raise SettingsError(
                f"expected a misalignment of at most {crop / _LARGEST_SHARE:g} px, 1/{_LARGEST_SHARE} of the "
                f"crop, got {self.simulator.level:g} px; lower its level or use a larger crop"
            )


class _Made(NamedTuple):
    """What comes from a worker process: a batch, and the pairs that were found unusable, with the reason."""

    batch: Batch | None
    unusable: dict[int, str]


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """A terminal sends Ctrl-C to all processes; the step that is being taken needs its batch all the same."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Batches(Dataset):
    """The sampler as torch's loader sees it."""

    def __init__(self, sampler: PairSampler) -> None:
        self._sampler = sampler

    def __getitem__(self, key: tuple[int, int]) -> _Made:
        return self._sampler._make(key)


@lru_cache(maxsize=2)  # an epoch can begin in one turn and end in the next
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, turn)).permutation(count)


def _arrays(sample: Sample, intensity: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return a sample as a batch has it, each ``(C, h, w)`` float32."""
    infrared, visible = grey_table(intensity, rng), grey_table(intensity, rng)
    return (
        infrared[sample.infrared][None],
        visible[sample.visible][None],
        infrared[sample.registered][None],
        sample.flow.transpose(2, 0, 1),
        sample.inside[None].astype(np.float32),
    )


def _stacked(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    # NumPy's stack keeps the order of the axes in memory, and mirrored and transposed arrays have their own.
    return torch.from_numpy(np.ascontiguousarray(np.stack(arrays)))
