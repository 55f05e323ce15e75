"""Pairs made of pairs: rescaled, registered anew, disguised; and what the matching register makes of them."""

from __future__ import annotations

import collections
import dataclasses
import os
import subprocess
import sys
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from small_trainings import recipe_of, scene, trained
from tiny_recipe import Killed, without_time

from fusion_ros.alignment.estimate import Estimate
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.networks.matching_register import Pass
from training.batch import Batch
from training.data.pairs import FilePair, MemoryPair, PairImages
from training.data.variants import Disguised, Registered, Rescaled
from training.loop import train
from training.recipes import matching_register
from training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (120, 160)
EDGE = 12
INNER = (slice(EDGE, -EDGE), slice(EDGE, -EDGE))


def textured(seed, size=SIZE):
    """Blobs and boxes of all sizes, uint8: structure at all places and in all directions."""
    rng = np.random.default_rng(seed)
    picture = sum(s * cv2.GaussianBlur(rng.normal(size=size), (0, 0), s) for s in (1.5, 3.0, 6.0))
    for _ in range(12):
        top, left = rng.integers(0, np.array(size) - 20)
        height, width = rng.integers(6, 20, 2)
        picture[top : top + height, left : left + width] += rng.normal() * picture.std()
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def shifted_pair(x, y, seed=0):
    """The negative of a scene, shifted by whole pixels so that ``infrared(p + (x, y))`` shows ``visible(p)``."""
    wide = textured(seed, (SIZE[0] + 32, SIZE[1] + 32))
    top, left = 16 - y, 16 - x
    infrared = 255 - wide[top : top + SIZE[0], left : left + SIZE[1]]
    return MemoryPair(f"shifted/{seed}", PairImages(infrared, wide[16:-16, 16:-16]))


# --- at another size ---


@pytest.mark.parametrize("factor", [0.75, 1.35, 0.33])
def test_both_images_are_rescaled_alike_and_cover_the_same_scene(factor):
    size = (101, 131)
    x, y = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    ramp = (x + 0.5 * y).astype(np.uint8)
    infrared, visible, flow = Rescaled(MemoryPair("a", PairImages(ramp, ramp)), factor).read()
    assert visible.shape == tuple(round(side * factor) for side in size) and flow is None
    np.testing.assert_array_equal(infrared, visible)
    # Outer edges stay together: a new pixel's centre lies at (x + 1/2) w / w' - 1/2 of the old image.
    (height, width), inner = visible.shape, (slice(3, -3), slice(3, -3))
    x, y = (np.arange(width) + 0.5) * size[1] / width - 0.5, (np.arange(height) + 0.5) * size[0] / height - 0.5
    np.testing.assert_allclose(visible[inner], (x + 0.5 * y[:, None])[inner], atol=1.5)


@pytest.mark.parametrize("factor", [0.75, 1.35])
def test_a_flow_is_rescaled_with_the_images_and_counts_new_pixels(factor):
    size = (101, 131)
    x, y = np.meshgrid(np.arange(size[1], dtype=np.float64), np.arange(size[0], dtype=np.float64))
    flow = np.dstack([4 + 0.02 * x - 0.01 * y, -2 + 0.01 * x + 0.03 * y]).astype(np.float32)

    def landscape(x, y):
        return 125 + 60 * np.sin(x / 9 + 1) * np.cos(y / 11) + 45 * np.cos((x + 2 * y) / 17)

    # The infrared image is such that it shows the landscape where the flow points: the map is linear.
    matrix = np.array([[1.02, -0.01], [0.01, 1.03]])
    at = np.linalg.inv(matrix) @ np.stack([x.ravel() - 4, y.ravel() + 2])
    infrared = landscape(*at.reshape(2, *size)).round().astype(np.uint8)
    pair = MemoryPair("a", PairImages(infrared, landscape(x, y).round().astype(np.uint8), flow))
    small = Rescaled(pair, factor).read()
    (height, width), inner = small.visible.shape, (slice(8, -8), slice(8, -8))
    assert small.flow.shape == (height, width, 2) and small.flow.dtype == np.float32
    at_x, at_y = np.meshgrid(
        (np.arange(width) + 0.5) * size[1] / width - 0.5, (np.arange(height) + 0.5) * size[0] / height - 0.5
    )
    expected = np.dstack(
        [(4 + 0.02 * at_x - 0.01 * at_y) * width / size[1], (-2 + 0.01 * at_x + 0.03 * at_y) * height / size[0]]
    )
    np.testing.assert_allclose(small.flow[inner], expected[inner], atol=1e-3)
    off = np.abs(warp_by_flow(small.infrared, small.flow).astype(float) - small.visible)[inner]
    assert off.max() <= 4 < 40 < np.abs(small.infrared.astype(float) - small.visible)[inner].max()
    np.testing.assert_array_equal(pair.read().flow, flow)  # the pair's own is left alone


def test_names_tell_variants_apart():
    pair = MemoryPair("set/a", PairImages(scene(0), scene(1)))
    variants = [pair, Rescaled(pair, 0.5), Rescaled(pair, 2.0)]
    variants += [Disguised(v, of_visible) for v in tuple(variants) for of_visible in (True, False)]
    names = [variant.name for variant in variants]
    assert len(set(names)) == 9 and all(name.startswith("set/a") for name in names)
    assert Registered(pair, np.zeros((8, 8, 2), np.float32)).name == "set/a"


# --- registered anew ---


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5, -3), (-7, 2), (1, 9)])
def test_a_known_shift_is_found_and_its_flow_registers_the_pair(x, y):
    pair = shifted_pair(x, y)
    images = Registered.found(pair).read()
    assert images.flow.shape == (*SIZE, 2)
    assert np.abs(images.flow - np.array([x, y])).max() < 0.15
    registered = warp_by_flow(images.infrared, np.float32(np.round(images.flow)))
    np.testing.assert_array_equal(registered[INNER], 255 - images.visible[INNER])
    for given, own in zip(images[:2], pair.images[:2], strict=True):
        np.testing.assert_array_equal(given, own)


@pytest.mark.parametrize("what", ["unrelated", "blank", "noise"])
def test_a_pair_that_nobody_could_be_sure_of_stays_as_it_is(what):
    rng = np.random.default_rng(0)
    infrared = {
        "unrelated": textured(7),
        "blank": np.full(SIZE, 90, np.uint8),
        "noise": rng.integers(0, 256, SIZE).astype(np.uint8),
    }[what]
    pair = MemoryPair("a", PairImages(infrared, textured(8)))
    assert Registered.found(pair) is pair


def test_confidence_decides_and_a_flow_that_is_known_exactly_is_not_estimated():
    pair = shifted_pair(4, 4)
    assert Registered.found(pair, least_confidence=1.01) is pair
    known = np.full((*SIZE, 2), (1.5, 0.0), np.float32)
    exact = MemoryPair("b", pair.images._replace(flow=known))
    assert Registered.found(exact) is exact


def test_the_first_estimator_that_is_sure_is_believed_also_about_what_is_local():
    pair = shifted_pair(4, 4)
    wave = np.dstack([3 * np.sin(np.mgrid[: SIZE[0], : SIZE[1]] / 40)[axis].astype(np.float32) for axis in (0, 1)])

    def unsure(moving, fixed, **more):
        return Estimate(np.full((*SIZE, 2), 9, np.float32), 0.4)

    def sure(moving, fixed, **more):
        assert moving.dtype == np.float32 and moving.max() <= 1
        return Estimate(wave, 0.6)

    assert np.abs(Registered.found(pair, (unsure, sure)).read().flow - wave).max() < 0.3
    assert Registered.found(pair, (unsure, unsure)) is pair


def test_a_rescaled_pair_keeps_what_its_registration_found():
    images = Rescaled(Registered.found(shifted_pair(6, -4)), 0.5).read()
    assert np.abs(images.flow - np.array([3, -2])).max() < 0.1


# --- one image in two guises ---


def symmetric(seed=0):
    quarter = textured(seed, (40, 48))
    half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
    return np.concatenate([half, half[::-1]])


def explained(guise, original):
    """Return the share of a guise's variance that a function of the original's greys explains."""
    counts = np.bincount(original.ravel(), minlength=256)
    means = np.bincount(original.ravel(), guise.ravel(), minlength=256) / np.maximum(counts, 1)
    return means[original].var() / guise.var()


@pytest.mark.parametrize("of_visible", [True, False])
def test_the_two_guises_lie_exactly_on_one_another(of_visible):
    """What does not move a symmetric picture leaves it symmetric; the least shift would not."""
    pictures = PairImages(symmetric(1), symmetric(2), np.ones((80, 96, 2), np.float32))
    original = pictures.visible if of_visible else pictures.infrared
    for number in range(20):
        images = Disguised(MemoryPair(f"set/{number}", pictures), of_visible).read()
        plain, guise = (images.visible, images.infrared) if of_visible else (images.infrared, images.visible)
        assert plain is original and images.flow is None
        assert guise.dtype == np.uint8 and guise.std() > 5
        assert explained(guise, original) > 0.5
        for mirrored in (guise[::-1], guise[:, ::-1]):
            assert np.abs(guise.astype(int) - mirrored).max() <= 1


def test_guises_differ_between_pairs_and_fall_more_often_than_they_rise():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    kinds, seen = collections.Counter(), set()
    for number in range(200):
        guise = Disguised(MemoryPair(f"set/{number}", PairImages(ramp, ramp)), of_visible=True).read().infrared
        seen.add(guise.tobytes())
        slopes = np.sign(np.diff(guise[4, 8:-8].astype(int)))
        kinds["rising" if (slopes >= 0).all() else "falling" if (slopes <= 0).all() else "folded"] += 1
    assert len(seen) == 200
    assert kinds["falling"] > kinds["rising"] > 20 and kinds["folded"] > 30


SCRIPT = """
import sys, zlib
import numpy as np
from training.data.pairs import MemoryPair, PairImages
from training.data.variants import Disguised
image = np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
print(zlib.crc32(Disguised(MemoryPair("set/caf\\udce9", PairImages(image, image)), True).read().infrared))
"""


def test_a_guise_is_the_same_in_every_process_whatever_the_name(repository):
    image = np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    pair = Disguised(MemoryPair("set/caf\udce9", PairImages(image, image)), of_visible=True)
    first = pair.read().infrared
    np.testing.assert_array_equal(first, pair.read().infrared)
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=repository, capture_output=True, text=True, check=True
    )
    assert int(other.stdout) == zlib.crc32(first.tobytes())


# --- what the recipe does with them ---

ALL_OF_IT = {
    "register_first": True,
    "scales": (1.25,),
    "disguised": 0.5,
    "noise": 0.1,
    "intensity": 0.5,
    "ema_decay": 0.9,
    "consistency_weight": 1.0,
    "again": 0.7,
    "simulate": "translation:4+elastic:2",
    "checkpoint_every": 1,
}


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.2, 1), (0.5, 4), (0.75, 12)])
def test_every_pair_is_sampled_at_all_sizes_and_disguised_ones_in_their_share(share, count):
    (stage,) = recipe_of("matching_register", scales=(1.25,), disguised=share).stages
    names = [pair.name for pair in stage.batches.pairs]
    assert names[:4] == ["small/0", "small/0 x 1.25", "small/1", "small/1 x 1.25"]
    disguised = [pair for pair in stage.batches.pairs if isinstance(pair, Disguised)]
    assert len(disguised) == count == len(names) - 4
    assert abs(sum(pair.of_visible for pair in disguised) - count / 2) <= 0.5
    if count >= 4:
        assert {pair.pair.name for pair in disguised} == set(names[:4])


def test_pairs_are_registered_once_before_training_and_before_validation(monkeypatch):
    asked = []

    def counted(moving, fixed, **more):
        asked.append(fixed)
        return Estimate(np.full((*fixed.shape, 2), 3, np.float32), 0.9)

    monkeypatch.setattr(matching_register, "_estimators", lambda teacher: (counted,))
    recipe = recipe_of("matching_register", register_first=True)
    for pairs in (recipe.split.train, recipe.split.validation, recipe.stages[0].batches.pairs):
        for _ in range(2):  # whoever reads them, however often, does not look for the flow again
            assert all(np.allclose(pair.read().flow, 3) for pair in pairs)
    assert len(asked) == len(recipe.split.train) + len(recipe.split.validation)
    plain = recipe_of("matching_register")
    assert all(pair.read().flow is None for pair in plain.stages[0].batches.pairs)


def test_a_pair_that_cannot_be_read_is_left_to_the_sampler(tmp_path):
    pair = FilePair("set/lost", tmp_path / "infrared.png", tmp_path / "visible.png")
    assert Registered.found(pair) is pair


def test_a_run_of_the_register_that_is_killed_ends_as_an_unbroken_one(tmp_path):
    def made():
        return recipe_of("matching_register", epochs=2, pairs_per_epoch=4, **ALL_OF_IT)

    whole, cut, steps = made(), made(), []
    history = trained(whole, tmp_path / "whole")
    (stage,) = cut.stages

    def killed_at_the_fourth(batch):
        steps.append(batch)
        if len(steps) == 4:
            raise Killed
        return stage.losses(batch)

    cut.stages = (dataclasses.replace(stage, losses=killed_at_the_fourth),)
    with pytest.raises(Killed):
        trained(cut, tmp_path / "cut")
    torch.manual_seed(99)  # a new process has drawn other numbers
    resumed, run = made(), RunFolder(tmp_path / "cut")
    assert without_time(train(resumed, run, resumed.settings)) == without_time(history)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    assert run.best.read_bytes() == RunFolder(tmp_path / "whole").best.read_bytes()


def test_noise_is_for_training_alone_and_for_two_images_in_five():
    recipe = recipe_of("matching_register", noise=0.1)
    images = torch.full((500, 1, 16, 16), 0.5)
    recipe.network.eval()
    assert recipe._noisy(images) is images
    recipe.network.train()
    deviations = recipe._noisy(images).std(dim=(1, 2, 3))
    assert 0.3 < float((deviations > 0).float().mean()) < 0.5
    assert 0.08 < float(deviations.max()) < 0.12


def test_each_pass_is_told_what_remains_to_be_found_from_where_it_begins(monkeypatch):
    """Passes that begin at (1, 1) px recognise what remains of (5, -3) px: a step of 4 px right and one up."""
    recipe = recipe_of("matching_register")

    def look(infrared, visible):
        right_and_up = torch.zeros(2, 9, 9, 1, 1)
        right_and_up[:, 4 - 1, 4 + 1] = 60.0
        scores = right_and_up.flatten(1, 2)
        before, flow = torch.ones(2, 2, 8, 8), torch.tensor([5.0, -3.0]).reshape(1, 2, 1, 1).expand(2, 2, 8, 8)
        found = Pass(scores.expand(2, 81, 16, 16), scores.expand(2, 81, 8, 8), before, flow)
        return [found._replace(flow=flow + 3), found]  # the first pass is 3 px off along both axes

    monkeypatch.setattr(recipe.network, "look", look)
    batch = next(recipe.stages[0].batches.epoch(1))
    flow, inside = torch.zeros(2, 2, 64, 64), torch.ones(2, 1, 64, 64)
    flow[:, 0], flow[:, 1] = 5.0, -3.0
    flow[:, :, 12:16, 12:16], inside[:, :, 12, 12] = 13.0, 0.0  # a pixel that nobody saw: its cell is left out
    losses = recipe.stages[0].losses(batch._replace(flow=flow, inside=inside))
    assert float(losses["error_px"]) == pytest.approx(0.1, abs=1e-4)
    assert float(losses["moved_px"]) == pytest.approx(np.hypot(5, 3), abs=1e-2)
    assert float(losses["recognition"]) < 1e-5
    assert float(losses["total"]) == pytest.approx(np.sqrt(18.01) + 0.1, rel=1e-4)


EVERYWHERE = torch.ones(2, 1, 64, 64)
RIGHT = torch.tensor([6.0, 0.0]).reshape(1, 2, 1, 1).expand(2, 2, 64, 64)
"""By how much the infrared image of a batch is off."""


def shown(batch: Batch) -> Batch:
    """The batch, its infrared image shifted by :data:`RIGHT`."""
    shifted = batch.registered.roll(6, dims=3)
    return batch._replace(infrared=shifted, flow=RIGHT, inside=EVERYWHERE)


def looking(
    answers: torch.Tensor, asked: list[torch.Tensor]
) -> Callable[[torch.Tensor, torch.Tensor], list[Pass]]:
    """Return what takes the place of the network's ``look``: one pass with answers given, whatever it is asked."""

    def look(moving, fixed):
        asked.append(moving)
        count = len(moving)
        flow = answers[:count].expand(count, 2, 8, 8)
        scores = torch.zeros(count, 81, 8, 8)
        return [Pass(torch.zeros(count, 81, 16, 16), scores, torch.zeros_like(flow), flow)]

    return look


def test_what_is_found_in_both_the_pair_as_it_came_and_deformed_is_right_whatever_the_set_says(monkeypatch):
    """The set is 4 px off: who finds that in both pairs is far from the label, and holds together all the same."""
    recipe = recipe_of("matching_register", consistency_weight=1.0, recognition_weight=0.0)
    batch = shown(next(recipe.stages[0].batches.epoch(1)))
    own = torch.tensor([0.0, 4.0])
    for undeformed, distance, consistency in ((own, 4.0, 0.0), (torch.zeros(2), 4.0, 2 * 4.0)):
        answers = torch.stack([own + torch.tensor([6.0, 0.0])] * 2 + [undeformed] * 2)[:, :, None, None]
        monkeypatch.setattr(recipe.network, "look", looking(answers, []))
        losses = recipe.stages[0].losses(batch)
        assert float(losses["error_px"]) == pytest.approx(distance, abs=2e-3)
        assert float(losses["consistency"]) == pytest.approx(
            consistency, abs=0.21
        )  # an error of nothing counts 0.1
        assert float(losses["total"]) == pytest.approx(distance + consistency, abs=0.3)


def test_what_answers_of_its_own_have_left_is_what_the_register_is_asked_about(monkeypatch):
    recipe = recipe_of("matching_register", consistency_weight=1.0, recognition_weight=0.0, again=1.0)
    batch, asked = shown(next(recipe.stages[0].batches.epoch(1))), []
    right = torch.tensor([6.0, 0.0])
    answers = torch.stack([right, right, 0 * right, 0 * right])[:, :, None, None]
    monkeypatch.setattr(recipe.network, "look", looking(answers, asked))
    monkeypatch.setattr(recipe, "_rounds", lambda: 1)
    losses = recipe.stages[0].losses(batch)
    first, second = asked
    middle = slice(16, -16)
    torch.testing.assert_close(first, torch.cat([batch.infrared, batch.registered]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(second[:2, ..., middle], batch.registered[..., middle], atol=1e-4, rtol=0.0)
    # It says 6 px once more, which are 6 too many.
    assert float(losses["error_px"]) == pytest.approx(6.0, abs=2e-3)


def test_own_answers_go_before_in_their_share_of_the_batches_and_never_in_validation():
    recipe = recipe_of("matching_register", again=0.6)
    recipe.network.train()
    rounds = [recipe._rounds() for _ in range(2000)]
    assert rounds.count(0) / 2000 == pytest.approx(0.4, abs=0.05)
    assert rounds.count(1) / 2000 == pytest.approx(0.36, abs=0.05)
    assert set(rounds) == {0, 1, 2}
    recipe.network.eval()
    assert not any(recipe._rounds() for _ in range(20))


def test_pictures_show_a_validation_crop_and_the_flow_beside_the_true_one():
    recipe = recipe_of("matching_register", misaligned=True)
    shown = recipe.pictures(recipe.stages[0])
    infrared, visible, flow = recipe.split.validation[0].read()
    images = shown["infrared, visible"]
    assert np.abs(images.astype(int) - np.concatenate([infrared, visible], axis=1)).max() <= 1
    flows = shown["flow, true flow"]
    assert flows.shape == (64, 128, 3)
    assert (flows[:, 64:] == flows[0, 64]).all() and flows[0, 64].min() < 30  # one shift, of full colour
    assert np.abs(flow).max() == 2


def test_the_card_says_what_was_done():
    recipe = recipe_of("matching_register", **ALL_OF_IT)
    notes = " ".join(recipe.notes(recipe.settings))
    for words in ("translation:4+elastic:2", "at their own size and at 1.25 of it", "50 % of the samples"):
        assert words in notes
    assert "first registered by the structural translation" in notes
    assert "found in the pair as it came and deformed" in notes and "In 70 % of the batches" in notes
    plain = " ".join(recipe.notes(recipe_of("matching_register").settings))
    assert "seen at their own size; 0 %" in plain and "as their sets have registered them" in plain
