"""LRRNet's module for tracking against its figure, written again with plain functions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fusion_ros.networks import Gives, LRRNetTracking, LRRNetTrackingSettings, build_network, count_parameters
from fusion_ros.spec import Takes

SMALL = LRRNetTrackingSettings(channels=6, hidden=4, blocks=2)


@pytest.fixture
def network():
    torch.manual_seed(2)
    return LRRNetTracking(SMALL).eval()


def _features(*size: int, channels: int = 6, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(size))
    return tuple(torch.randn(batch, channels, *size, generator=generator) for _ in range(2))


def _figure_14(network: LRRNetTracking, infrared, visible):
    """LLRR blocks and a convolution for each camera, joined, and one convolution; the blocks by equations 8, 9."""
    tensors = dict(network.named_parameters())

    def conv(name, x):
        return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def shrink(branch, u):
        threshold = tensors[f"{branch}.threshold"].reshape(1, -1, 1, 1)
        return torch.where(u.abs() > threshold, u - torch.sign(u) * threshold, torch.zeros_like(u))

    def decompose(branch, features):
        z = shrink(branch, conv(f"{branch}.embed", features))
        for t in range(SMALL.blocks):
            rest = features - conv(f"{branch}.blocks.{t}.synthesise", z)
            z = shrink(branch, tensors[f"{branch}.zeta"] * z + conv(f"{branch}.blocks.{t}.analyse", rest))
        return z

    halves = [
        conv("reduce_infrared", decompose("infrared", infrared)),
        conv("reduce_visible", decompose("visible", visible)),
    ]
    return conv("merge", torch.cat(halves, dim=1))


@pytest.mark.parametrize("size", [(7, 7), (31, 31), (15, 22), (2, 3)])
@torch.no_grad()
def test_output_equals_the_figure(network, size):
    pair = _features(*size, batch=2)
    fused = network(*pair)
    assert fused.shape == (2, 6, *size)
    torch.testing.assert_close(fused, _figure_14(network, *pair))


def test_by_default_it_takes_256_channels_at_four_blocks_and_gives_features():
    network = build_network("lrrnet_tracking")
    c, k, z = 256, 9, 2 * 128
    branch = (k * c * z + z) + 4 * ((k * z * c + c) + (k * c * z + z)) + z + 1 + (k * z * c + c)
    assert count_parameters(network) == 2 * branch + (k * 2 * c * c + c)
    assert f"{count_parameters(network):,} parameters" in LRRNetTracking.__doc__
    assert (network.spec.takes, network.spec.gives) == (Takes.FEATURES, Gives.FEATURES)
    assert network(*_features(4, 4, channels=256)).shape == (1, 256, 4, 4)


@torch.no_grad()
def test_either_camera_counts_and_in_its_own_way(network):
    infrared, visible = _features(8, 8)
    fused = network(infrared, visible)
    for other in (network(visible, infrared), network(infrared * 0, visible), network(infrared, visible * 0)):
        assert (fused - other).abs().max() > 0.01


def test_a_gradient_reaches_every_weight_of_a_fresh_module_fed_with_small_features():
    torch.manual_seed(2)
    network = LRRNetTracking(LRRNetTrackingSettings(channels=32, hidden=8, blocks=1))
    pair = tuple(0.5 * features for features in _features(12, 12, channels=32))
    network(*pair).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())
