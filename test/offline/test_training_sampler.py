"""Batches: the same whatever is cut, shared or prepared ahead; bad files are survived, workers end."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest
import torch
from made_pairs import SMALL, pairs_of

from fusion_ros.errors import ImageError, SettingsError
from training.data.pairs import FilePair, ImageStore, MemoryPair, PairImages
from training.data.sampler import PairSampler
from training.data.simulate import parse_simulator

pytestmark = pytest.mark.usefixtures("one_thread")


def numbered(count):
    """Pairs that are all of one grey level, their number."""
    levels = [np.full((32, 32), number, np.uint8) for number in range(count)]
    return [MemoryPair(f"set/{number}", PairImages(level, level)) for number, level in enumerate(levels)]


def numbers(batches):
    """Which of the numbered pairs the batches hold, in order."""
    return [round(float(image[0, 0, 0]) * 255) for batch in batches for image in batch.visible]


@dataclass
class Flaky:
    """A pair that cannot be read, and counts how often somebody tried; or one that can."""

    name: str
    images: PairImages | None
    reads: list[str] = field(default_factory=list)

    def read(self):
        self.reads.append(self.name)
        if self.images is None:
            raise ImageError(f"{self.name}.png: expected a readable image; delete or replace it")
        return self.images


def assert_same(batches, others):
    batches, others = list(batches), list(others)
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        for name, tensor in batch._asdict().items():
            assert torch.equal(tensor, getattr(other, name)), name


def everything_on(**changes):
    settings = replace(SMALL, intensity=0.7, **changes)
    return lambda **more: PairSampler(
        pairs_of(10), settings, seed=5, simulator=parse_simulator("elastic:3"), **more
    )


def test_a_batch_has_the_shapes_types_and_ranges_that_it_promises():
    batches = list(everything_on()().epoch(1))
    assert [len(batch.visible) for batch in batches] == [4, 4, 2]
    for batch in batches:
        for name, tensor in batch._asdict().items():
            assert tensor.dtype == torch.float32 and tensor.is_contiguous()
            assert tensor.shape[1:] == (2 if name == "flow" else 1, 32, 32)
            assert name == "flow" or (tensor.min() >= 0 and tensor.max() <= 1)
        assert set(batch.inside.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("first_step", [1, 2])
def test_an_epoch_that_is_resumed_goes_on_as_the_unbroken_one(first_step):
    make = everything_on()
    whole = make()
    list(whole.epoch(1))
    assert_same(list(whole.epoch(2))[first_step:], make().epoch(2, first_step))


def test_epochs_and_seeds_differ():
    sampler = PairSampler(pairs_of(10), SMALL, seed=5)
    first, second = (next(sampler.epoch(number)).visible for number in (1, 2))
    other = next(PairSampler(pairs_of(10), SMALL, seed=6).epoch(1)).visible
    assert not torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("keep_in_memory", [True, False])
def test_worker_processes_change_nothing(workers, keep_in_memory):
    alone = everything_on(keep_in_memory=False)()
    helped = everything_on(keep_in_memory=keep_in_memory, workers=workers)()
    for number, first_step in ((1, 0), (2, 1)):
        assert_same(alone.epoch(number, first_step), helped.epoch(number, first_step))


def test_worker_processes_leave_the_training_process_its_random_numbers_and_threads():
    before, threads = torch.random.get_rng_state(), cv2.getNumThreads()
    list(everything_on(workers=1)().epoch(1))
    assert torch.equal(before, torch.random.get_rng_state()) and cv2.getNumThreads() == threads


@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_all_processes_make_up_the_batch_of_one(world):
    make = everything_on()
    whole = list(make(per_epoch=24).epoch(3))
    shares = [list(make(per_epoch=24, rank=rank, world=world).epoch(3)) for rank in range(world)]
    for step, batch in enumerate(whole):
        for name, tensor in batch._asdict().items():
            assert torch.equal(tensor, torch.cat([getattr(share[step], name) for share in shares])), name


def test_an_epoch_takes_every_pair_once_in_an_order_of_its_own():
    sampler = PairSampler(numbered(50), SMALL, seed=1)
    orders = [numbers(sampler.epoch(number)) for number in (1, 2)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1] and orders[0] != list(range(50))


@pytest.mark.parametrize("per_epoch", [8, 20, 28])
def test_with_more_or_fewer_samples_an_epoch_no_pair_comes_again_before_all_others(per_epoch):
    sampler = PairSampler(numbered(20), SMALL, seed=1, per_epoch=per_epoch)
    assert sampler.steps_per_epoch == per_epoch // 4
    run = [number for epoch in range(1, 6) for number in numbers(sampler.epoch(epoch))]
    for turn in range(len(run) // 20):
        assert sorted(run[20 * turn : 20 * turn + 20]) == list(range(20))


def test_a_pair_that_comes_again_in_an_epoch_comes_from_another_place():
    batch = next(PairSampler(pairs_of(1, (200, 200)), SMALL, seed=1, per_epoch=4).epoch(1))
    assert len({image.numpy().tobytes() for image in batch.visible}) == 4


def test_the_last_batch_is_smaller_or_dropped():
    kept, dropped = (PairSampler(numbered(10), SMALL, seed=1, drop_last=drop) for drop in (False, True))
    assert [len(batch.visible) for batch in kept.epoch(1)] == [4, 4, 2] and kept.steps_per_epoch == 3
    assert [len(batch.visible) for batch in dropped.epoch(1)] == [4, 4] and dropped.steps_per_epoch == 2


# --- files that cannot be used ---


def usable_but(count, *bad, too_small=()):
    levels = [np.full((32, 32), number, np.uint8) for number in range(count)]
    images = [PairImages(level, level) for level in levels]
    for number in too_small:
        images[number] = PairImages(levels[number][:20], levels[number][:20])
    return [Flaky(f"set/{i}", None if i in bad else images[i]) for i in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("keep_in_memory", [True, False])
def test_unusable_pairs_are_named_once_and_replaced_by_the_next_of_the_order(caplog, workers, keep_in_memory):
    pairs = usable_but(20, 7, too_small=(12,))
    settings = replace(SMALL, workers=workers, keep_in_memory=keep_in_memory)
    sampler = PairSampler(pairs, settings, seed=3)
    with caplog.at_level(logging.WARNING):
        epochs = [numbers(sampler.epoch(number)) for number in (1, 2, 3)]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    assert any("set/7.png: expected a readable image" in text for text in warnings)
    assert any("'set/12': too small: expected at least 32 x 32 pixels, got 32 x 20" in text for text in warnings)
    intact = PairSampler(numbered(20), SMALL, seed=3)
    for number, order in enumerate(epochs, 1):
        expected = numbers(intact.epoch(number))
        for place, wanted in enumerate(expected):
            follows = expected[place:] + expected[:place]
            assert order[place] == next(number for number in follows if number not in (7, 12)), wanted


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("keep_in_memory", [True, False])
@pytest.mark.parametrize("bad", [(3, 9, 11), tuple(range(20))])
def test_training_ends_when_more_than_a_tenth_of_the_pairs_is_unusable(workers, keep_in_memory, bad):
    settings = replace(SMALL, workers=workers, keep_in_memory=keep_in_memory)
    sampler = PairSampler(usable_but(20, *bad), settings, seed=3)
    with pytest.raises(ImageError, match=r"of 20 are not: 'set/\d+', .*repair them.*\.png: expected a readable"):
        for number in (1, 2):
            list(sampler.epoch(number))
    assert not multiprocessing.active_children()


def test_small_images_are_no_trouble_where_they_are_resized():
    batch = next(PairSampler(pairs_of(4, (20, 24)), replace(SMALL, fit="resize"), seed=1).epoch(1))
    assert batch.visible.shape == (4, 1, 32, 32)


def test_a_file_that_is_damaged_in_mid_training_is_survived(tmp_path, caplog):
    pairs = []
    for number in range(12):
        for folder in ("ir", "vis"):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((32, 32), number, np.uint8))
        pairs.append(FilePair(str(number), tmp_path / f"ir/{number}.png", tmp_path / f"vis/{number}.png"))
    sampler = PairSampler(pairs, replace(SMALL, keep_in_memory=False), seed=1)
    batches = sampler.epoch(1)
    first = numbers([next(batches)])
    lost = next(number for number in range(12) if number not in first)
    (tmp_path / f"vis/{lost}.png").write_bytes(b"cut short")
    rest = numbers(batches)
    assert set(first + rest) == set(range(12)) - {lost} and len(first + rest) == 12
    assert f"{lost}.png" in caplog.text


def test_images_that_are_kept_in_memory_are_read_once_and_others_when_they_are_due():
    for keep, times in ((True, 1), (False, 3)):
        pairs = usable_but(8)
        sampler = PairSampler(pairs, replace(SMALL, keep_in_memory=keep), seed=1)
        for number in (1, 2, 3):
            list(sampler.epoch(number))
        assert [len(pair.reads) for pair in pairs] == [times] * 8


@pytest.mark.parametrize("workers", [0, 2])
def test_samplers_share_images_of_the_same_pairs_but_never_of_others_of_the_same_name(workers):
    store, settings = ImageStore(), replace(SMALL, workers=workers)
    pairs = usable_but(8)
    for seed in (1, 2):
        shared = PairSampler(pairs, settings, seed=seed, images=store)
        assert_same(shared.epoch(1), PairSampler(usable_but(8), settings, seed=seed).epoch(1))
    assert [len(pair.reads) for pair in pairs] == [1] * 8
    others = [replace(pair, images=other.images) for pair, other in zip(pairs, pairs_of(8), strict=True)]
    assert_same(
        PairSampler(others, settings, seed=3, images=store).epoch(1),
        PairSampler(others, settings, seed=3).epoch(1),
    )


# --- worker processes end with the loop ---


def test_workers_end_when_the_loop_is_left():
    for leave in (lambda batches: batches.close(), interrupt):
        batches = everything_on(workers=2)().epoch(1)
        next(batches)
        assert len(multiprocessing.active_children()) == 2
        leave(batches)
        assert not multiprocessing.active_children()


def interrupt(batches):
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt())


PROGRAM = """
import multiprocessing, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs deaf to Ctrl-C
sys.path[:0] = [".", "test/offline"]
from test_training_sampler import everything_on
batches = everything_on(workers=2)(per_epoch=4000).epoch(1)
for batch in batches:
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


def test_workers_end_when_the_user_interrupts_the_program(repository):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    with program:
        children = [int(pid) for pid in program.stdout.readline().split()]
        assert len(children) == 2 and all(map(is_alive, children))
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, errors = program.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, children))
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- what cannot work ---


@pytest.mark.parametrize(
    ("count", "settings", "arguments", "message"),
    [
        (0, SMALL, {}, "at least one pair to train on, got none"),
        (3, SMALL, {"drop_last": True}, r"a whole batch of 4 in an epoch, got 3 sample\(s\)"),
        (12, SMALL, {"world": 3}, "a batch of 4 cannot be shared equally among 3 .*; change the batch"),
        (9, SMALL, {"world": 2}, "a batch of 1 cannot be shared .*; drop the last batch"),
        (8, SMALL, {"world": 2, "rank": 2}, "a rank from 0 to 1, got 2"),
        (8, SMALL, {"simulator": parse_simulator("affine:4.5")}, "at most 4 px, 1/8 of the crop, got 4.5 px"),
    ],
)
def test_what_cannot_work_is_refused_at_once(count, settings, arguments, message):
    with pytest.raises(SettingsError, match=message):
        PairSampler(pairs_of(count), settings, seed=1, **arguments)
