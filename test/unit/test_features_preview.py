"""The picture of a feature map: principal components as colour, in place, and steady from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.features.preview import FeatureColours

RNG = np.random.default_rng(5)
CELLS = (24, 32)


def _grid(values, stride=1, size=None):
    values = np.ascontiguousarray(values, np.float32)
    return FeatureGrid(values, stride, size or (values.shape[0] * stride, values.shape[1] * stride))


def _mixed(strengths, channels=8, seed=0):
    """Features of which three independent signals make up nearly all: the map, and the signals by strength."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(*CELLS, 3)) * strengths
    directions = np.linalg.qr(rng.normal(size=(channels, channels)))[0][:, :3]
    return signals @ directions.T + 0.01 * rng.normal(size=(*CELLS, channels)) + 3.0, signals


def test_the_colours_are_the_principal_components_by_strength():
    values, _ = _mixed((5.0, 2.0, 1.0))
    picture = FeatureColours()(_grid(values))
    centred = values.reshape(-1, 8) - values.reshape(-1, 8).mean(axis=0)
    components = np.linalg.svd(centred, full_matrices=False)[0][:, :3]
    assert picture.shape == (*CELLS, 3) and picture.dtype == np.uint8
    for channel in range(3):
        likeness = np.corrcoef(picture[..., channel].ravel(), components[:, channel])[0, 1]
        assert abs(likeness) > 0.98
        assert picture[..., channel].std() > 30  # neither faint nor black and white


def test_neither_a_turn_of_sign_nor_of_order_flashes():
    """The second and the third signal change places as the stronger one; a cell that stays keeps its colour."""
    still, _ = _mixed((5.0, 3.0, 3.0))
    colours, pictures = FeatureColours(), []
    for index in range(60):
        strengths = (5.0, 3.0, 2.0) if index // 20 % 2 == 0 else (5.0, 2.0, 3.0)
        values, _ = _mixed(strengths)
        values[:2] = still[:2]
        pictures.append(colours(_grid(values))[:2].astype(int))
    steps = np.abs(np.diff(pictures, axis=0))
    assert np.ptp(pictures[0]) > 150
    assert steps.max() <= 20


@pytest.mark.parametrize("size", [(96, 128), (99, 131), (93, 126)])
def test_a_cell_is_drawn_where_its_pixels_are(size):
    values = 0.01 * RNG.normal(size=(*CELLS, 6))
    values[10, 20] += 50.0
    picture = FeatureColours()(_grid(values, 4, size)).astype(float)
    assert picture.shape == (*size, 3)
    contrast = np.abs(picture[..., 0] - np.median(picture[..., 0]))
    rows, columns = np.nonzero(contrast > 0.6 * contrast.max())
    grid = _grid(values, 4, size)
    assert rows.mean() == pytest.approx(grid.pixels(10), abs=0.01)
    assert columns.mean() == pytest.approx(grid.pixels(20), abs=0.01)


def test_one_channel_is_grey_and_two_leave_blue_in_the_middle():
    one = FeatureColours()(_grid(RNG.random((*CELLS, 1))))
    assert (one == one[..., :1]).all() and np.ptp(one) > 100
    two = FeatureColours()(_grid(RNG.random((*CELLS, 2))))
    assert (two[..., 2] == 128).all() and np.ptp(two[..., 1]) > 100


@pytest.mark.parametrize("value", [0.0, 1.0, -4000.0])
def test_a_flat_map_is_flat_grey_and_spoils_nothing_after_it(value):
    colours = FeatureColours()
    flat = colours(_grid(np.full((*CELLS, 8), value)))
    assert np.ptp(flat) <= 2 and abs(int(flat[0, 0, 0]) - 128) <= 1
    values, _ = _mixed((5.0, 2.0, 1.0))
    for _ in range(3):
        picture = colours(_grid(values))
    assert np.ptp(picture) > 100
