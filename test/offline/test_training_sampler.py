"""Batches: the same whatever is cut, shared or prepared ahead; both images of a pair alike; bad files survived."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest
import torch

from fusion_ros.errors import ImageError, SettingsError
from training.data.augment import grey_table, resized
from training.data.pairs import FilePair, MemoryPair, PairImages
from training.data.sampler import PairSampler, SamplerSettings
from training.data.simulate import parse_simulator

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = SamplerSettings(crop=32, batch=4)
PLAIN = replace(SMALL, flip=False, fit="centre")


def noise(seed, size=(48, 60)):
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def pairs_of(count, size=(48, 60)):
    """Pairs of noise, the visible image the negative of the infrared one."""
    images = [noise(seed, size) for seed in range(count)]
    return [MemoryPair(f"set/{i}", PairImages(image, 255 - image)) for i, image in enumerate(images)]


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


@pytest.mark.parametrize("fit", ["crop", "centre"])
def test_both_images_of_a_pair_get_the_same_window_and_flip(fit):
    """The images are negatives of each other, and so are their crops."""
    found = []
    pairs = pairs_of(8, (64, 80))
    for batch in PairSampler(pairs, replace(SMALL, fit=fit), seed=2).epoch(1):
        torch.testing.assert_close(batch.infrared + batch.visible, torch.ones_like(batch.visible))
        assert torch.equal(batch.infrared, batch.registered)
        assert not batch.flow.any() and batch.inside.all()
        for image in batch.infrared:
            found += places_of(torch.round(image[0] * 255).to(torch.uint8).numpy(), pairs)
    assert len(found) == 8  # each crop lies at one place of one image
    places, mirrored = zip(*found, strict=True)
    assert set(mirrored) == {False, True}
    assert set(places) == {(16, 24)} if fit == "centre" else len(set(places)) == 8


def places_of(crop, pairs):
    """Where, as (top, left), a crop of noise lies in the infrared images, and whether it is mirrored there."""
    for pair in pairs:
        for mirrored in (False, True):
            template = np.ascontiguousarray(crop[:, ::-1] if mirrored else crop)
            # Other places differ by some 10 million; what is left at the right one is single precision.
            distances = cv2.matchTemplate(pair.images.infrared, template, cv2.TM_SQDIFF)
            yield from ((tuple(place), mirrored) for place in np.argwhere(distances < 1e4).tolist())


def test_without_flips_nothing_is_mirrored_and_windows_reach_every_place():
    ramp = np.broadcast_to(np.arange(60, dtype=np.uint8), (48, 60))
    sampler = PairSampler(
        [MemoryPair("ramp", PairImages(ramp, ramp))], replace(SMALL, flip=False), seed=1, per_epoch=400
    )
    crops = torch.cat([batch.visible for batch in sampler.epoch(1)])
    assert (crops.diff(dim=3) > 0).all()
    lefts = Counter(torch.round(crops[:, 0, 0, 0] * 255).int().tolist())
    assert set(lefts) == set(range(60 - 32 + 1))


@pytest.mark.parametrize(
    ("fit", "mode"),
    [("resize", {"mode": "bilinear", "align_corners": False}), ("resize_nearest", {"mode": "nearest-exact"})],
)
@pytest.mark.parametrize("size", [(48, 60), (100, 31), (20, 24)])
def test_resizing_is_torchs(fit, mode, size):
    (pair,) = pairs_of(1, size)
    batch = next(PairSampler([pair], replace(PLAIN, fit=fit), seed=1).epoch(1))
    image = torch.from_numpy(pair.images.infrared)[None, None].float() / 255
    expected = torch.nn.functional.interpolate(image, size=(32, 32), **mode)
    torch.testing.assert_close(batch.infrared, expected, atol=1.5 / 255 if fit == "resize" else 1e-6, rtol=0)


def test_a_flow_is_resized_with_its_image():
    """A pair that is moved by 8 of 80 pixels is moved by 4 of 40."""
    scene = cv2.GaussianBlur(noise(1, (80, 120)), (0, 0), 4)
    flow = np.broadcast_to(np.float32([8, 0]), (80, 80, 2))
    images = resized(PairImages(scene[:, 12:92], scene[:, 20:100], flow), 40, nearest=False)
    np.testing.assert_allclose(images.flow, np.broadcast_to(np.float32([4, 0]), (40, 40, 2)), atol=1e-5)
    np.testing.assert_allclose(images.infrared[:, 4:].astype(int), images.visible[:, :-4].astype(int), atol=1)


@pytest.mark.parametrize("fit", ["crop", "centre", "resize"])
def test_the_flow_of_a_pair_goes_through_window_flip_and_resizing(fit):
    """What the visible camera sees is what the flow finds in the infrared image, to bilinear sampling."""
    scene = cv2.GaussianBlur(noise(3, (90, 130)), (0, 0), 5)
    flow = np.broadcast_to(np.float32([6, -4]), (80, 110, 2))
    images = PairImages(scene[9:89, 4:114], scene[5:85, 10:120], flow)
    sampler = PairSampler([MemoryPair("a", images)], replace(SMALL, crop=64, fit=fit), seed=1, per_epoch=12)
    signs = set()
    for batch in sampler.epoch(1):
        seen = batch.inside.bool()
        assert 0.6 < seen.float().mean() < 1
        torch.testing.assert_close(batch.registered[seen], batch.visible[seen], atol=2.5 / 255, rtol=0)
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        at = torch.stack([x, y], dim=-1) + batch.flow.permute(0, 2, 3, 1)
        sampled = torch.nn.functional.grid_sample(batch.infrared, at / 63 * 2 - 1, align_corners=True)
        torch.testing.assert_close(sampled[seen], batch.visible[seen], atol=2.5 / 255, rtol=0)
        signs |= set(batch.flow[:, 0].sign().unique().tolist())
    assert signs == {-1.0, 1.0}


def test_intensity_maps_the_greys_of_each_image_in_its_own_way_and_never_turns_them_round():
    settings = replace(PLAIN, intensity=1.0)
    images = [noise(seed, (32, 32)) for seed in range(8)]
    pairs = [MemoryPair(str(i), PairImages(image, image)) for i, image in enumerate(images)]
    plain = torch.cat([batch.visible for batch in PairSampler(pairs, PLAIN, seed=1).epoch(1)])
    for start, batch in enumerate(PairSampler(pairs, settings, seed=1).epoch(1)):
        assert torch.equal(batch.registered, batch.infrared)
        for before, *after in zip(plain[4 * start :], batch.infrared, batch.visible, strict=False):
            order = before.flatten().argsort(stable=True)
            for image in after:
                assert (image.flatten()[order].diff() >= 0).all()
                assert (image - before).abs().max() > 0.02
            assert not torch.equal(*after)


def test_intensity_grows_with_its_strength_and_is_nothing_at_zero():
    identity = np.arange(256) / 255
    np.testing.assert_allclose(grey_table(0.0, np.random.default_rng(1)), identity, atol=1e-7)
    change = [
        np.mean([np.abs(grey_table(strength, np.random.default_rng(i)) - identity).mean() for i in range(40)])
        for strength in (0.2, 0.5, 1.0)
    ]
    assert 0 < change[0] < change[1] < change[2] < 0.25


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
import multiprocessing, sys, time
sys.path.insert(0, "test/offline")
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
