"""The rearranged LRRNet computes what the plain one does."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch
from torch import fx

from fusion_ros.networks import LRRNet, LRRNetSettings
from fusion_ros.networks.deployed import deployed
from fusion_ros.networks.lrrnet_strips import LRRNetStrips
from fusion_ros.weights import load_upstream

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = 6
MOST_STRIPS = 32
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO (make test installs it)"
)


def _network(seed=3, **settings):
    """Build a network whose thresholds are of either sign, and one of them 0."""
    torch.manual_seed(seed)
    network = LRRNet(LRRNetSettings(channels=CHANNELS, **settings)).eval().requires_grad_(False)
    for branch in (network.infrared, network.visible):
        branch.threshold.copy_(torch.rand(1, 2 * CHANNELS) * 0.3)
        branch.zeta.fill_(0.7)
    network.infrared.threshold[0, 2:4] = torch.tensor([-0.2, 0.0])
    network.visible.threshold[0, -1] = -0.1
    return network


@pytest.fixture(scope="module")
def network():
    return _network()


def _images(height, width, batch=1):
    generator = torch.Generator().manual_seed(height * 1000 + width)
    infrared, visible = torch.rand(2, batch, 1, height, width, generator=generator)
    return infrared, visible


def _bytes_of_rows(rows, width):
    return rows * width * CHANNELS * 4


def _assert_same(strips, network, images):
    torch.testing.assert_close(strips(*images), network(*images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 16, 1000])
@pytest.mark.parametrize("size", [(16, 16), (37, 53), (2, 2), (3, 7), (64, 2), (71, 40)])
def test_strips_of_any_height_equal_the_plain_network(network, size, rows):
    height, width = size
    strips = LRRNetStrips(network, height, width, cache_bytes=_bytes_of_rows(rows, width))
    assert len(strips.strips) == min(-(-height // rows), MOST_STRIPS)
    _assert_same(strips, network, _images(height, width))


@pytest.mark.parametrize("fusion", ["cat", "add"])
@pytest.mark.parametrize("blocks", [0, 1, 2, 6])
def test_every_kind_of_network_is_kept(blocks, fusion):
    network = _network(blocks=blocks, fusion=fusion)
    strips = LRRNetStrips(network, 21, 34, cache_bytes=_bytes_of_rows(4, 34))
    assert len(strips.strips) == 6
    _assert_same(strips, network, _images(21, 34))


def test_without_a_budget_the_whole_image_is_one_strip(network):
    whole = LRRNetStrips(network, 40, 30)
    assert whole.strips == ((0, 40),)
    _assert_same(whole, network, _images(40, 30))


def test_a_batch_is_fused_image_by_image(network):
    strips = LRRNetStrips(network, 20, 22, cache_bytes=_bytes_of_rows(6, 22))
    _assert_same(strips, network, _images(20, 22, batch=3))


@pytest.mark.parametrize("value", [0.0, 1e-6, -1e-6])
def test_a_negative_threshold_is_exact_at_zero_and_beside_it(value):
    network = _network(blocks=0)
    network.infrared.embed.weight.zero_()
    network.infrared.embed.bias.fill_(value)
    network.infrared.threshold.fill_(-0.2)
    strips = LRRNetStrips(network, 16, 18, cache_bytes=_bytes_of_rows(5, 18))
    images = _images(16, 18)
    sparse = network.features(*images)["sparse_infrared"]
    assert torch.allclose(sparse.abs(), torch.tensor(0.2 if value else 0.0), atol=1e-5)
    _assert_same(strips, network, images)


def test_a_zeta_of_zero_or_below_is_kept(network):
    for zeta in (0.0, -0.4):
        other = copy.deepcopy(network)
        other.visible.zeta.fill_(zeta)
        _assert_same(LRRNetStrips(other, 18, 25, _bytes_of_rows(7, 25)), other, _images(18, 25))


def test_output_equals_the_authors_network(shared):
    network = load_upstream(LRRNet(), shared / "weights" / "upstream" / "lrrnet.safetensors")
    with np.load(shared / "reference" / "lrrnet" / "odd_tno_05.npz") as arrays:
        images = [torch.from_numpy(arrays[name]) for name in ("ir_in", "vis_in")]
        expected = arrays["out"]
    height, width = expected.shape[2:]
    strips = LRRNetStrips(network, height, width, cache_bytes=128 * 4 * width * 10)
    np.testing.assert_allclose(strips(*images).numpy(), expected, atol=1e-5, rtol=0)


def test_it_is_traced(network):
    strips = LRRNetStrips(network, 24, 31, cache_bytes=_bytes_of_rows(5, 31))
    images = _images(24, 31)
    torch.testing.assert_close(fx.symbolic_trace(strips)(*images), strips(*images), rtol=0, atol=0)


@needs_openvino
@pytest.mark.parametrize("rows", [9, 1000])
def test_openvino_gives_the_plain_networks_output(network, rows):
    from fusion_ros.engines.openvino_graph import openvino_graph
    from fusion_ros.engines.openvino_runtime import core

    strips = LRRNetStrips(network, 43, 38, cache_bytes=_bytes_of_rows(rows, 38))
    shape = (1, 1, 43, 38)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core().compile_model(openvino_graph(strips, shape, shape), "CPU", options)
    images = _images(43, 38)
    fused = compiled([image.numpy() for image in images])[0]
    np.testing.assert_allclose(fused, network(*images).numpy(), atol=1e-5, rtol=0)


def test_the_trained_network_stays_as_it_was(network):
    before = copy.deepcopy(network.state_dict())
    strips = LRRNetStrips(network, 16, 16)
    with torch.no_grad():
        for parameter in strips.parameters():
            parameter.fill_(3.0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_it_is_the_form_that_is_deployed(network):
    assert isinstance(deployed(network, 32, 32), LRRNetStrips)
