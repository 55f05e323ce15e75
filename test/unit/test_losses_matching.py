"""The losses of registers that match: their formulas written plainly, what counts, what is best; and flows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree

from fusion_ros.alignment import learned
from fusion_ros.synthetic import fields
from training.losses.matching import composed, displacement_loss, endpoint_loss, remaining, smoothed

pytestmark = pytest.mark.usefixtures("one_thread")

RADIUS = 3
SIDE = 2 * RADIUS + 1
SHAPE = (2, 5, 4)  # images, rows, columns


def _random(seed, channels):
    images, *size = SHAPE
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (images, channels, *size)))


@pytest.fixture
def logits() -> torch.Tensor:
    """``(2, 49, 5, 4)`` float64."""
    return 2 * _random(1, SIDE**2)


@pytest.fixture
def displacement() -> torch.Tensor:
    """``(2, 2, 5, 4)`` float64 of all lengths up to a little beyond the radius along an axis."""
    return torch.from_numpy(np.random.default_rng(2).uniform(-1.15 * RADIUS, 1.15 * RADIUS, (2, 2, 5, 4)))


@pytest.fixture
def inside() -> torch.Tensor:
    """A mask with places of both kinds in each image."""
    return (_random(3, 1) < 0.5).double()


def _shares(x, y):
    """Return the share of each whole displacement in ``(x, y)``, rows first: bilinear, by hats of width one."""
    steps = np.arange(-RADIUS, RADIUS + 1)
    return np.outer(np.maximum(0, 1 - np.abs(steps - y)), np.maximum(0, 1 - np.abs(steps - x)))


def _plain_displacement_loss(logits, displacement, inside):
    terms = []
    for image, row, column in np.ndindex(SHAPE):
        x, y = displacement[image, :, row, column].numpy()
        if not inside[image, 0, row, column] or max(abs(x), abs(y)) >= RADIUS:
            continue
        here = logits[image, :, row, column].numpy().reshape(SIDE, SIDE)
        terms.append(-(_shares(x, y) * (here - np.log(np.exp(here).sum()))).sum())
    return np.mean(terms)


def test_the_distance_is_the_mean_over_what_is_inside(inside):
    predicted, flow = 3 * _random(4, 2), 3 * _random(5, 2)
    squares = ((predicted - flow).numpy() ** 2).sum(axis=1)
    expected = np.sqrt(squares + 0.01)[inside[:, 0].numpy() == 1].mean()
    assert float(endpoint_loss(predicted, flow, inside)) == pytest.approx(expected, rel=1e-12)
    assert float(endpoint_loss(flow, flow, inside)) == pytest.approx(0.1, rel=1e-12)


def test_recognition_is_the_cross_entropy_with_bilinear_shares(logits, displacement, inside):
    reached = (displacement.abs() < RADIUS).all(dim=1, keepdim=True) & (inside == 1)
    assert 5 < int(reached.sum()) < int(inside.sum())
    expected = _plain_displacement_loss(logits, displacement, inside)
    assert float(displacement_loss(logits, displacement, inside)) == pytest.approx(expected, rel=1e-12)
    single = displacement_loss(logits.float(), displacement.float(), inside.float())
    assert float(single) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("x", "y"), [(2, -1), (-2, 1), (0, 0), (1, 2)])
def test_a_whole_displacement_is_one_class_of_rows_of_displacements(x, y):
    sure = torch.zeros(1, SIDE, SIDE, 1, 1).double()
    sure[0, y + RADIUS, x + RADIUS] = 50.0
    true = torch.tensor([x, y]).double().reshape(1, 2, 1, 1)
    logits, everywhere = sure.flatten(1, 2), torch.ones(1, 1, 1, 1)
    assert float(displacement_loss(logits, true, everywhere)) < 1e-12
    # Half a step on along both axes, a quarter of it is still that class.
    assert float(displacement_loss(logits, true + 0.5, everywhere)) == pytest.approx(0.75 * 50)


def test_what_lies_beyond_the_radius_does_not_count(logits, inside):
    near = torch.full((2, 2, 5, 4), RADIUS - 0.01).double()
    far = near.clone()
    far[:, :, 2:] = torch.tensor([RADIUS + 0.01, 0.0])[:, None, None]  # along one axis alone
    far[:, :, 4] = -RADIUS
    seen = inside.clone()
    seen[:, :, 2:] = 0
    assert float(displacement_loss(logits, far, inside)) == float(displacement_loss(logits, near, seen))
    assert float(displacement_loss(logits, near, inside)) != float(displacement_loss(logits, near, seen))


@pytest.mark.parametrize("what", ["outside", "beyond the radius"])
def test_where_nothing_counts_the_loss_is_nothing_and_its_gradient_too(logits, displacement, inside, what):
    logits.requires_grad_()
    if what == "outside":
        loss = displacement_loss(logits, displacement, 0 * inside) + endpoint_loss(
            logits[:, :2], displacement, 0 * inside
        )
    else:
        loss = displacement_loss(logits, displacement.sign() * 1e4, inside)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_the_best_logits_leave_the_entropy_of_the_shares(logits, displacement, inside):
    shares = np.stack([_shares(*at) for at in displacement.numpy().transpose(0, 2, 3, 1).reshape(-1, 2)])
    best = torch.from_numpy(np.log(shares + 1e-300)).reshape(*SHAPE, -1).permute(0, 3, 1, 2)
    seen = (inside[:, 0].numpy() == 1) & (displacement.abs().amax(dim=1).numpy() < RADIUS)
    flat = shares.reshape(*SHAPE, -1)[seen]
    entropy = -(flat * np.log(flat + 1e-300)).sum(axis=1).mean()
    assert entropy > 0.5
    assert float(displacement_loss(best, displacement, inside)) == pytest.approx(entropy, rel=1e-9)
    for strength in (0.1, 1.0):
        assert float(displacement_loss(best + strength * logits, displacement, inside)) > entropy


def test_gradients_are_those_of_the_formulas(logits, displacement, inside):
    assert gradients_agree(lambda x: displacement_loss(x, displacement, inside), logits)
    assert gradients_agree(lambda x: endpoint_loss(x, displacement, inside), 2 * _random(6, 2))


# --- flows upon flows ---


def _fields(level: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Two smooth flows ``(96, 128, 2)``."""
    return tuple(fields.elastic((96, 128), level, np.random.default_rng(seed)) for seed in (4, 5))


def _tensor(flow: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))[None]


def test_flows_are_composed_as_the_aligner_does():
    rest, flow = _fields()
    found = composed(_tensor(rest), _tensor(flow), 1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, learned.composed(rest, flow), atol=1e-3)


def test_flows_of_a_pitch_are_composed_as_those_of_all_pixels():
    rest, flow = (_tensor(each) for each in _fields())
    coarse = composed(*(torch.nn.functional.avg_pool2d(each, 8) for each in (rest, flow)), 8)
    fine = torch.nn.functional.avg_pool2d(composed(rest, flow, 1), 8)
    assert (
        float((coarse - fine)[:, :, 1:-1, 1:-1].norm(dim=1).max()) < 0.15 < float((rest + flow).norm(dim=1).mean())
    )


def test_what_remains_is_what_gives_the_whole_when_composed_with_what_was_found():
    flow, found = (_tensor(each) for each in _fields(2.0))
    rest = remaining(flow, found, 1)
    error = (composed(rest, found, 1) - flow)[:, :, 8:-8, 8:-8].norm(dim=1)
    careless = (composed(flow - found, found, 1) - flow)[:, :, 8:-8, 8:-8].norm(dim=1)
    assert error.mean() < 0.02 and error.max() < 0.2 < careless.max()
    assert torch.equal(remaining(flow, torch.zeros_like(flow), 1), flow)


def test_flows_are_smoothed_as_by_opencv():
    flow = np.random.default_rng(6).normal(size=(24, 30, 2)).astype(np.float32)
    wanted = cv2.GaussianBlur(flow, (17, 17), 2.5, borderType=cv2.BORDER_REPLICATE)
    found = smoothed(_tensor(flow), 2.5)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
