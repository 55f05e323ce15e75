"""The register that matches: what it finds before it has learned anything, and that it can learn."""

from __future__ import annotations

from itertools import pairwise, product

import cv2
import numpy as np
import pytest
import torch

from fusion_ros.errors import SettingsError
from fusion_ros.networks import MatchingRegister, MatchingRegisterSettings, count_parameters
from fusion_ros.networks.flow import warp

pytestmark = pytest.mark.usefixtures("one_thread")


def register(**settings: int) -> MatchingRegister:
    torch.manual_seed(0)
    return MatchingRegister(MatchingRegisterSettings(**settings)).eval()


def texture(seed: int, height: int, width: int) -> torch.Tensor:
    """``(1, 1, H, W)`` in [0, 1], of blotches some 10 pixels wide."""
    rough = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 4.0)
    return torch.from_numpy((smooth - smooth.min()) / (smooth.max() - smooth.min()))[None, None]


def shifted_pair(x: int, y: int, height: int = 128, width: int = 160) -> tuple[torch.Tensor, torch.Tensor]:
    """Moving and fixed image: ``moving(p + (x, y)) = fixed(p)`` exactly."""
    whole = texture(1, height + 32, width + 32)
    moving = whole[:, :, 16 - y : 16 - y + height, 16 - x : 16 - x + width]
    return moving.contiguous(), whole[:, :, 16:-16, 16:-16].contiguous()


@torch.no_grad()
def usual_flow(network: MatchingRegister, moving: torch.Tensor, fixed: torch.Tensor) -> list[float]:
    """Median of each component in the interior: with fresh weights single places are still some pixels off."""
    return network(moving, fixed)[0, :, 24:-24, 24:-24].flatten(1).median(dim=1).values.tolist()


@pytest.mark.parametrize("shift", [(8, 0), (0, -8), (-8, 8), (0, 0)], ids=str)
def test_a_register_with_fresh_weights_finds_a_shift_of_a_texture(shift):
    np.testing.assert_allclose(usual_flow(register(), *shifted_pair(*shift)), shift, atol=0.5)


@pytest.mark.parametrize("shift", [(8, 0), (0, -8)], ids=str)
def test_what_it_finds_brings_the_images_onto_one_another(shift):
    moving, fixed = shifted_pair(*shift)
    with torch.no_grad():
        moved = warp(moving, register()(moving, fixed), "replicate")
    off, before = ((image - fixed).abs()[..., 24:-24, 24:-24].mean() for image in (moved, moving))
    assert off < 0.5 * before


def test_more_passes_reach_farther():
    moving, fixed = shifted_pair(16, 0)
    one, three = (usual_flow(register(passes=passes), moving, fixed)[0] for passes in (1, 3))
    assert abs(three - 16) < 0.5 < abs(one - 16)


@pytest.mark.parametrize("passes", [1, 3])
def test_every_pass_goes_on_where_the_last_one_ended(passes):
    moving, fixed = shifted_pair(8, 0)
    with torch.no_grad():
        looks = register(passes=passes).look(moving, fixed)
    assert len(looks) == passes
    assert not looks[0].before.any()
    for last, this in pairwise(looks):
        torch.testing.assert_close(this.before, last.flow)
    for look in looks:
        assert look.comparison.shape == (1, 81, 32, 40) and look.logits.shape == (1, 81, 16, 20)
        assert look.flow.shape == (1, 2, 16, 20)
        assert (look.flow - look.before).abs().max() <= 16.0  # 4 steps of 4 px


@pytest.mark.parametrize("size", [(24, 32), (22, 38), (6, 10)], ids=str)
@pytest.mark.parametrize("radius", [1, 3, 4])
def test_the_comparison_is_the_scalar_product_at_every_displacement(radius, size):
    moving, fixed = torch.randn(2, 2, 5, *size, generator=torch.Generator().manual_seed(0)).unbind()
    found = register(radius=radius).compared(moving, fixed)
    height, width = size
    for index, (y, x) in enumerate(product(range(-radius, radius + 1), repeat=2)):
        # What is met beyond the image is nothing.
        wanted = torch.zeros(2, *size)
        rows, columns = slice(max(0, -y), height - max(0, y)), slice(max(0, -x), width - max(0, x))
        met = moving.roll((-y, -x), dims=(2, 3))[:, :, rows, columns]
        wanted[:, rows, columns] = (met * fixed[:, :, rows, columns]).sum(dim=1)
        torch.testing.assert_close(found[:, index], wanted, atol=1e-5, rtol=1e-5)


def test_inverted_contrast_is_described_alike():
    network = register()
    image, other = texture(2, 96, 128), texture(3, 96, 128)
    with torch.no_grad():
        one, inverted, unrelated = (network.described(each) for each in (image, 1 - image, other))
    torch.testing.assert_close(inverted, one, atol=1e-3, rtol=0.0)
    alike = torch.nn.functional.cosine_similarity
    assert alike(one, inverted).min() > 0.999 > alike(one, unrelated).mean() + 0.05


def test_a_shift_is_found_under_inverted_contrast():
    moving, fixed = shifted_pair(8, 0)
    np.testing.assert_allclose(usual_flow(register(), 1 - moving, fixed), (8, 0), atol=0.5)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (50, 101), (37, 32)], ids=str)
def test_any_size_comes_out_as_it_went_in(size):
    moving, fixed = texture(0, *size), texture(1, *size)
    with torch.no_grad():
        flow = register()(moving.expand(2, -1, -1, -1), fixed.expand(2, -1, -1, -1))
    assert flow.shape == (2, 2, *size) and flow.dtype == torch.float32
    assert torch.isfinite(flow).all()
    torch.testing.assert_close(flow[0], flow[1], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_blank_images_give_a_finite_flow(grey):
    blank = torch.full((1, 1, 64, 64), grey)
    with torch.no_grad():
        assert torch.isfinite(register()(blank, texture(0, 64, 64))).all()
        assert torch.isfinite(register()(blank, blank)).all()


@pytest.mark.parametrize("passes", [1, 3])
def test_a_gradient_reaches_every_parameter(passes):
    network = register(passes=passes).train()
    moving, fixed = shifted_pair(5, 2, 64, 64)
    (network(moving, fixed) - torch.tensor([5.0, 2.0])[:, None, None]).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0.0, name


def test_some_steps_of_training_lower_the_error():
    network = register().train()
    moving, fixed = shifted_pair(6, -3, 64, 64)
    wanted = torch.tensor([6.0, -3.0])[:, None, None]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = (network(moving, fixed) - wanted).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_it_is_as_large_as_it_says_whatever_the_number_of_passes():
    assert count_parameters(register()) == count_parameters(register(passes=3)) == 1_994_067
    with pytest.raises(SettingsError, match="passes"):
        MatchingRegisterSettings(passes=0)
