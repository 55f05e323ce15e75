"""The reduced RFN for tracking against its figure, written again with plain functions."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fusion_ros.networks import Gives, RFNTracking, RFNTrackingSettings, build_network, count_parameters

SMALL = RFNTrackingSettings(channels=6)


@pytest.fixture
def network():
    torch.manual_seed(2)
    return RFNTracking(SMALL).eval()


def _features(*size: int, channels: int = 6, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(size))
    return tuple(torch.randn(batch, channels, *size, generator=generator) for _ in range(2))


def _figure_17(network: RFNTracking, infrared, visible, last):
    """Conv1 and conv2, joined, conv3, conv4; plus conv5 of both; ``last`` ends the two terms."""

    def conv(number, x):
        module = getattr(network, f"conv{number}")
        border = module.kernel_size[0] // 2
        return F.conv2d(F.pad(x, [border] * 4, mode="reflect"), module.weight, module.bias)

    x = F.relu(torch.cat([conv(1, visible), conv(2, infrared)], dim=1))
    return last(conv(4, F.relu(conv(3, x)))) + last(conv(5, torch.cat([visible, infrared], dim=1)))


@pytest.mark.parametrize("size", [(7, 7), (31, 31), (15, 22), (2, 3)])
@torch.no_grad()
def test_output_equals_the_figure(network, size):
    pair = _features(*size, batch=2)
    fused = network(*pair)
    assert fused.shape == (2, 6, *size)
    torch.testing.assert_close(fused, _figure_17(network, *pair, last=lambda x: x))
    assert fused.min() < 0 < fused.max()


@torch.no_grad()
def test_rectified_terms_are_the_fusion_networks_way():
    torch.manual_seed(2)
    network = RFNTracking(RFNTrackingSettings(channels=6, rectified=True)).eval()
    pair = _features(9, 9)
    torch.testing.assert_close(network(*pair), _figure_17(network, *pair, last=F.relu))
    assert network(*pair).min() >= 0


def test_by_default_it_takes_256_channels_and_gives_features():
    network = build_network("rfn_tracking")
    c, k = 256, 9
    expected = 2 * (k * c * c + c) + (2 * c * c + c) + (k * c * c + c) + (k * 2 * c * c + c)
    assert count_parameters(network) == expected == 3_081_472
    assert network.spec.gives is Gives.FEATURES
    assert network(*_features(4, 4, channels=256)).shape == (1, 256, 4, 4)


@torch.no_grad()
def test_either_camera_counts_and_in_its_own_way(network):
    infrared, visible = _features(8, 8)
    fused = network(infrared, visible)
    for other in (network(visible, infrared), network(infrared * 0, visible), network(infrared, visible * 0)):
        assert (fused - other).abs().max() > 0.01


@torch.no_grad()
def test_one_export_serves_every_size_and_it_can_be_read_symbolically(network):
    size = {2: torch.export.Dim("height", min=2, max=320), 3: torch.export.Dim("width", min=2, max=320)}
    exported = torch.export.export(network, _features(15, 17), dynamic_shapes=(size, size)).module()
    traced = torch.fx.symbolic_trace(network)
    for height, width in ((7, 7), (31, 30), (12, 40)):
        pair = _features(height, width)
        torch.testing.assert_close(exported(*pair), network(*pair), atol=1e-5, rtol=1e-5)
        assert torch.equal(traced(*pair), network(*pair))


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@torch.no_grad()
def test_openvino_can_run_it(network):
    from fusion_ros.engines.openvino_graph import openvino_graph
    from fusion_ros.engines.openvino_runtime import core

    pair = _features(9, 12)
    graph = openvino_graph(network, *(tuple(features.shape) for features in pair))
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = compiled([features.numpy() for features in pair])[0]
    np.testing.assert_allclose(given, network(*pair).numpy(), atol=1e-5)


def test_a_gradient_reaches_every_weight():
    torch.manual_seed(2)
    network = RFNTracking(SMALL)
    network(*_features(9, 9)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())
