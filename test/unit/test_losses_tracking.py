"""Losses for trackers: the correlation filter's, and those of the fusion modules' papers, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, similarity

from fusion_ros.errors import ImageError
from training.losses.lrrnet_tracking import lrrnet_tracking_loss
from training.losses.rfn_tracking import rfn_tracking_loss
from training.losses.tracking import filter_response, found_displacement, hits, tracking_loss

pytestmark = pytest.mark.usefixtures("one_thread")


def _features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def _levels(*shapes: tuple[int, ...], seed: int) -> list[torch.Tensor]:
    return [_features(*shape, seed=seed + number) for number, shape in enumerate(shapes)]


# --- the correlation filter ---


def _hann(length: int) -> np.ndarray:
    return np.sin(np.pi * np.arange(1, length + 1) / (length + 1)) ** 2


def _windowed(features: np.ndarray) -> np.ndarray:
    window = np.outer(_hann(features.shape[1]), _hann(features.shape[2]))
    return (features - features.mean(axis=(1, 2), keepdims=True)) * window


def _all_shifts(features: np.ndarray) -> np.ndarray:
    """One row for each circular shift that brings a cell to the origin: ``(h * w, C * h * w)``."""
    _, height, width = features.shape
    return np.stack([np.roll(features, (-y, -x), (1, 2)).reshape(-1) for y in range(height) for x in range(width)])


def _ridge_response(template: np.ndarray, search: np.ndarray, label: float, ridge: float) -> np.ndarray:
    """Ridge regression on all circular shifts of the template, solved as a dense system, applied to the search."""
    _, height, width = template.shape
    down, across = (np.minimum(np.arange(n), n - np.arange(n)) for n in (height, width))
    wanted = np.exp(-(down[:, None] ** 2 + across**2) / (2 * label**2)).reshape(-1)
    x, z = _all_shifts(_windowed(template)), _all_shifts(_windowed(search))
    # The mean over frequencies of sum |X_c|^2, by Parseval.
    floor = ridge * (_windowed(template) ** 2).sum()
    weights = np.linalg.solve(x.T @ x + floor * np.eye(x.shape[1]), x.T @ wanted)
    return (z @ weights).reshape(height, width)


@pytest.mark.parametrize("size", [(6, 5), (4, 8)])
def test_the_response_is_that_of_a_ridge_regression_on_all_shifts(size):
    template, search = _features(2, 3, *size), _features(2, 3, *size, seed=1)
    response = filter_response(template, search, label=0.8, ridge=0.05)
    for got, shown, looked_at in zip(response, template, search, strict=True):
        expected = _ridge_response(shown.numpy(), looked_at.numpy(), 0.8, 0.05)
        np.testing.assert_allclose(got, expected, atol=1e-9)


def test_a_target_that_moved_has_its_peak_there():
    scene = _features(4, 5, 48, 52)
    moves = torch.tensor([[3, -5], [-8, 0], [7, 6], [0, 0]])
    template = scene[..., 12:36, 12:40]
    search = torch.stack(
        [one[:, 12 - y : 36 - y, 12 - x : 40 - x] for one, (x, y) in zip(scene, moves.tolist(), strict=True)]
    )
    response = filter_response(template, search)
    assert torch.equal(found_displacement(response), moves)
    assert hits(response, moves.double()) == 1
    assert tracking_loss(response, moves.double()) < tracking_loss(response, moves + 3.0) - 3


def test_nothing_to_see_is_no_division_by_zero():
    black = torch.zeros(1, 3, 16, 16, requires_grad=True)
    loss = tracking_loss(filter_response(black, black), torch.zeros(1, 2))
    loss.backward()
    assert loss.isfinite() and black.grad.isfinite().all()


def test_the_loss_equals_its_definition_in_numpy():
    response, displacement = _features(2, 6, 8), torch.tensor([[1.3, -2.0], [-3.7, 0.4]], dtype=torch.float64)
    expected = []
    for cells, (dx, dy) in zip(response.numpy(), displacement.numpy(), strict=True):
        p = np.exp(2.0 * (cells - cells.mean()) / cells.std())
        p /= p.sum()
        near = 0.0
        for y in range(6):
            for x in range(8):
                off = [min((a - b) % n, (b - a) % n) for a, b, n in ((x, dx, 8), (y, dy, 6))]
                near += p[y, x] * np.exp(-(off[0] ** 2 + off[1] ** 2) / 2)
        expected.append(-np.log(near))
    assert float(tracking_loss(response, displacement)) == pytest.approx(np.mean(expected), rel=1e-9)
    assert float(tracking_loss(7 * response + 3, displacement)) == pytest.approx(np.mean(expected), rel=1e-9)


def test_a_peak_beyond_half_of_the_map_is_a_negative_displacement_and_near_is_within_a_cell():
    response = torch.zeros(4, 6, 9)
    for number, (x, y) in enumerate(((0, 0), (8, 5), (4, 2), (5, 1))):
        response[number, y, x] = 1
    assert found_displacement(response).tolist() == [[0, 0], [-1, -1], [4, 2], [-4, 1]]
    truth = torch.tensor([[1.0, -1.0], [-1.0, 0.2], [2.9, 2.0], [-4.0, 1.0]])
    assert hits(response, truth) == 0.5


def test_the_tracking_loss_has_the_gradient_of_its_values():
    displacement = torch.tensor([[1.0, 0.5], [-2.0, 1.0]], dtype=torch.float64)
    template, search = _features(2, 3, 8, 10), _features(2, 3, 8, 10, seed=1)
    assert gradients_agree(lambda x, z: tracking_loss(filter_response(x, z), displacement), template, search)


# --- RFN-Nest, equations 6 and 7 ---

RFN_LEVELS = ((2, 3, 14, 12), (2, 4, 7, 6))


def _l1_rule(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Of one image, ``(C, H, W)``: weights by the l1-norm, summed over 3x3 places, nothing beyond the border."""
    activities = []
    for features in (infrared, visible):
        norm = np.pad(np.abs(features).sum(axis=0), 1)
        height, width = features.shape[1:]
        activities.append(sum(norm[y : y + height, x : x + width] for y in range(3) for x in range(3)))
    return (infrared * activities[0] + visible * activities[1]) / (activities[0] + activities[1])


def _stretched(features: np.ndarray) -> np.ndarray:
    return (features - features.min()) / (features.max() - features.min())


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_the_rfn_loss_equals_the_paper_in_numpy(variant):
    fused, infrared, visible = (_levels(*RFN_LEVELS, seed=seed) for seed in (0, 10, 20))
    detail = feature = 0.0
    for weight, *level in zip((1.0, 10.0), fused, infrared, visible, strict=True):
        f, x, y = (features.numpy() for features in level)
        index = [
            np.prod(similarity(a, b, border="reflect"), axis=0).mean()
            for one, two, three in zip(f, x, y, strict=True)
            for a, b in zip(_stretched(one), _stretched(_l1_rule(two, three)), strict=True)
        ]
        detail += 1 - np.mean(index)
        squares = (f - (6 * x + 3 * y)) ** 2
        feature += weight * (squares.mean() if variant == "code" else squares.sum() / len(f))
    loss = rfn_tracking_loss(fused, infrared, visible, variant=variant, level_weights=(1.0, 10.0))
    assert float(loss.detail) == pytest.approx(detail, abs=1e-4)  # the stretch divides by a little more
    assert float(loss.feature) == pytest.approx(feature, rel=1e-9)
    assert float(loss.total) == pytest.approx(700 * float(loss.detail) + feature, rel=1e-9)


def test_by_default_every_level_counts_alike():
    fused, infrared, visible = (_levels(*RFN_LEVELS, seed=seed) for seed in (0, 10, 20))
    both = rfn_tracking_loss(fused, infrared, visible)
    single = [rfn_tracking_loss([f], [x], [y]).total for f, x, y in zip(fused, infrared, visible, strict=True)]
    torch.testing.assert_close(both.total, sum(single))


def test_the_rfn_loss_has_the_gradient_of_its_values():
    fused, infrared, visible = (_levels((1, 2, 8, 9), seed=seed) for seed in (0, 10, 20))
    assert gradients_agree(lambda f: rfn_tracking_loss([f], infrared, visible).total, fused[0])


def test_maps_smaller_than_half_of_the_window_are_refused():
    tiny = _levels((1, 2, 5, 5), seed=0)
    with pytest.raises(ImageError, match="at least 6 x 6 pixels, got 5 x 5"):
        rfn_tracking_loss(tiny, tiny, tiny)


# --- LRRNet, equation 15 ---

LRRNET_LEVELS = ((2, 2, 8, 6), (2, 3, 4, 3), (2, 5, 2, 3))


def _gram(features: np.ndarray) -> np.ndarray:
    channels, height, width = features.shape
    rows = features.reshape(channels, -1)
    return rows @ rows.T / (channels * height * width)


@pytest.mark.parametrize("variant", ["code", "paper"])
def test_the_lrrnet_loss_equals_equation_15_in_numpy(variant):
    fused, infrared, visible = (_levels(*LRRNET_LEVELS, seed=seed) for seed in (0, 10, 20))
    f, i, r = ([level.numpy() for level in levels] for levels in (fused, infrared, visible))

    def norm(difference):
        return (difference**2).mean() if variant == "code" else (difference**2).sum() / len(difference)

    shallow = norm(f[0] - 3.0 * r[0])
    middle = norm(f[1] - (2.0 * i[1] + 1.0 * r[1]))
    grams = [np.stack([_gram(one) for one in levels[2]]) for levels in (f, i, r)]
    deep = norm(grams[0] - (2.0 * grams[1] + 1.0 * grams[2]))
    loss = lrrnet_tracking_loss(fused, infrared, visible, variant=variant)
    assert [float(part) for part in loss[1:]] == pytest.approx([shallow, middle, deep], rel=1e-9)
    assert float(loss.total) == pytest.approx(10 * shallow + 2 * middle + 2000 * deep, rel=1e-9)


def test_of_a_single_level_the_middle_term_is_left():
    fused, infrared, visible = (_levels(LRRNET_LEVELS[1], seed=seed) for seed in (0, 10, 20))
    loss = lrrnet_tracking_loss(fused, infrared, visible)
    expected = ((fused[0] - 2 * infrared[0] - visible[0]) ** 2).mean()
    torch.testing.assert_close(loss.middle, expected)
    torch.testing.assert_close(loss.total, 2 * expected)


def test_levels_that_are_neither_one_nor_three_are_refused():
    two = _levels(*LRRNET_LEVELS[:2], seed=0)
    with pytest.raises(ImageError, match="of three levels or of one, got 2, 2 and 2"):
        lrrnet_tracking_loss(two, two, two)
    with pytest.raises(ImageError, match="got 1, 2 and 1"):
        lrrnet_tracking_loss(two[:1], two, two[:1])


def test_the_lrrnet_loss_has_the_gradient_of_its_values():
    fused, infrared, visible = (_levels(*LRRNET_LEVELS, seed=seed) for seed in (0, 10, 20))
    assert gradients_agree(lambda *f: lrrnet_tracking_loss(f, infrared, visible).total, *fused)
