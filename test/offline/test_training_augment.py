"""Windows, flips, sizes and greys: both images of a pair alike, against torch and known pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from made_pairs import PLAIN, SMALL, noise, pairs_of

from training.data.augment import grey_table, resized
from training.data.pairs import MemoryPair, PairImages
from training.data.sampler import PairSampler

pytestmark = pytest.mark.usefixtures("one_thread")


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
