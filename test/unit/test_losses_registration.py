"""ReCoNet's registration loss: its formula, its truth, and the authors' later form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses_in_numpy import gradients_agree, images
from scipy import ndimage

from fusion_ros.networks.flow import warp
from fusion_ros.synthetic.misalign import Misalignment, inverse_field
from training.losses.reconet import joint_loss
from training.losses.reconet_registration import edge_registration_loss, registration_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def flows() -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted and true flow, ``(2, 2, 7, 9)`` float64 in pixels."""
    return tuple(torch.from_numpy(np.random.default_rng(4).normal(0, 3, (2, 2, 2, 7, 9))))


@pytest.fixture
def inside() -> torch.Tensor:
    """A mask with pixels of both kinds in each image."""
    return torch.from_numpy(np.random.default_rng(5).random((2, 1, 7, 9)) < 0.6).double()


def _as_flow(field: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(field.transpose(2, 0, 1)[None].copy())


def test_the_default_is_the_papers_equation_6(flows):
    predicted, flow = (f.numpy() for f in flows)
    similarity = np.mean(np.hypot(*(predicted - flow).swapaxes(0, 1)) ** 2)  # 7
    smoothness = sum(np.abs(np.diff(predicted, axis=axis)).sum(axis=1).mean() for axis in (2, 3))  # 8
    loss = registration_loss(*flows)
    assert float(loss.similarity) == pytest.approx(similarity)
    assert float(loss.smoothness) == pytest.approx(smoothness)
    assert float(loss.total) == pytest.approx(0.78 * similarity + 0.22 * smoothness)


def test_only_what_the_true_flow_can_see_is_compared(flows, inside):
    predicted, flow = (f.numpy() for f in flows)
    squares = np.hypot(*(predicted - flow).swapaxes(0, 1)) ** 2
    loss = registration_loss(*flows, inside)
    assert float(loss.similarity) == pytest.approx(squares[inside[:, 0].numpy() == 1].mean())
    assert float(loss.smoothness) == float(registration_loss(*flows).smoothness)


def test_nothing_inside_leaves_smoothness_alone(flows):
    predicted = flows[0].clone().requires_grad_()
    loss = registration_loss(predicted, flows[1], torch.zeros(2, 1, 7, 9))
    loss.total.backward()
    assert loss.total.item() == pytest.approx(0.22 * loss.smoothness.item())
    assert torch.isfinite(predicted.grad).all()


def test_for_a_shift_the_target_is_the_papers_negative_field():
    field = Misalignment("shift", 3.0).field((32, 32), seed=1)
    loss = registration_loss(_as_flow(-field), _as_flow(inverse_field(field)))
    assert float(loss.total) == pytest.approx(0, abs=1e-6)


def test_the_target_registers_better_than_the_papers_negative_field():
    picture = ndimage.gaussian_filter(np.random.default_rng(2).random((64, 64)), 2).astype(np.float32)
    deformed, field = Misalignment("elastic", 4.0).apply(picture / picture.max(), seed=3)
    flow = _as_flow(inverse_field(field))

    def remaining(candidate):
        moved = warp(torch.from_numpy(deformed)[None, None], candidate, "replicate")
        difference = moved[0, 0].numpy() - picture / picture.max()
        return np.abs(difference[8:-8, 8:-8]).mean()

    assert remaining(flow) < 0.5 * remaining(_as_flow(-field))
    assert float(registration_loss(flow, flow).similarity) == 0
    assert float(registration_loss(_as_flow(-field), flow).similarity) > 0.1


def test_the_later_form_compares_edges_and_normalised_positions(flows, inside):
    moved, true = images(2, 7, 9)
    weights = {"edge_weight": 2.0, "position_weight": 3.0, "smoothness_weight": 5.0}
    # Positions as the authors sample: from -1 at the first pixel's centre to 1 at the last one's.
    positions = [
        np.stack([2 * ((np.arange(9) + f[:, 0]) / 8 - 0.5), 2 * ((np.arange(7)[:, None] + f[:, 1]) / 6 - 0.5)])
        for f in (flow.numpy() for flow in flows)
    ]
    squares = (positions[0] - positions[1]) ** 2
    edges = (moved - true).numpy() ** 2
    smoothness = sum(np.mean(np.diff(moved.numpy(), axis=axis) ** 2) for axis in (2, 3)) / 2
    expected = 2 * edges.mean() + 3 * squares.mean() + 5 * smoothness
    assert float(edge_registration_loss(*flows, moved, true, **weights).total) == pytest.approx(expected)

    seen = inside[:, 0].numpy() == 1
    expected = 2 * edges[:, 0][seen].mean() + 3 * squares[:, seen].mean() + 5 * smoothness
    assert float(edge_registration_loss(*flows, moved, true, inside, **weights).total) == pytest.approx(expected)


def test_the_joint_loss_is_the_papers_equation_2():
    fusion, registration = torch.tensor(2.0), torch.tensor(7.0)
    assert float(joint_loss(fusion, registration).total) == pytest.approx(0.6 * 2 + 0.4 * 7)
    assert float(joint_loss(fusion, registration, fusion_share=0.9).total) == pytest.approx(0.9 * 2 + 0.1 * 7)


def test_gradients_are_those_of_the_formula(flows, inside):
    predicted, flow = flows
    moved, true = images(2, 7, 9)
    weights = {"edge_weight": 2.0, "position_weight": 3.0, "smoothness_weight": 5.0}
    assert gradients_agree(lambda p: registration_loss(p, flow, inside).total, predicted)
    assert gradients_agree(
        lambda p, e: edge_registration_loss(p, flow, e, true, inside, **weights).total, predicted, moved
    )
