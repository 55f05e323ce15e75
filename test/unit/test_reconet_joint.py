"""ReCoNet whole: its parts are the authors', and what comes out is on the reference's grid."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from fusion_ros.errors import SettingsError
from fusion_ros.networks import (
    ReCoNet,
    ReCoNetFuser,
    ReCoNetSettings,
    build_network,
    count_multiply_adds,
    count_parameters,
)
from fusion_ros.networks.deployed import deployed
from fusion_ros.networks.flow import warp
from fusion_ros.weights import load_upstream


def images(*shape: int) -> list[torch.Tensor]:
    return list(torch.rand(2, *shape, generator=torch.Generator().manual_seed(2)))


def strong(**settings) -> ReCoNet:
    """The network with random weights whose register finds flows of some pixels."""
    torch.manual_seed(5)
    network = build_network("reconet", settings).eval()
    torch.nn.init.normal_(network.register.last.weight, std=3.0)
    return network


@pytest.fixture(scope="module")
def pair(shared):
    """Two digits and what the authors' micro register made of them."""
    with np.load(shared / "reference" / "reconet_mregister" / "digits_7_shifted.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def with_authors_weights(shared, **settings) -> ReCoNet:
    network = build_network("reconet", settings)
    upstream = shared / "weights" / "upstream"
    load_upstream(network.register, upstream / "reconet_mregister_mnist.safetensors")
    load_upstream(network.fuser, upstream / "reconet.safetensors")
    return network.eval()


@pytest.mark.parametrize("reference", ["visible", "infrared"])
@torch.no_grad()
def test_the_image_that_is_not_the_reference_is_moved_and_then_fused(shared, pair, reference):
    network = with_authors_weights(shared, reference=reference)
    fuser = load_upstream(ReCoNetFuser(), shared / "weights" / "upstream" / "reconet.safetensors")
    moving, fixed, moved = pair["moving"], pair["fixed"], pair["moved"]
    sources, aligned = ((moving, fixed), (moved, fixed)), ((fixed, moving), (fixed, moved))
    sources, aligned = sources if reference == "visible" else aligned
    found = network.correct(*sources)
    scale = pair["flow_int"].abs().max()
    torch.testing.assert_close(found.moved, moved, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.flow.permute(0, 2, 3, 1) / scale, pair["flow_int"] / scale, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.fused, fuser(*aligned), atol=1e-5, rtol=0)
    assert torch.equal(network(*sources), found.fused)
    # The shift is found: what is fused lies on the reference, and not where the moving image had it.
    assert (found.moved - fixed).square().mean() < 0.05 * (moving - fixed).square().mean()


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({}, 209945), ({"inputs": 4}, 210233), ({"register": "unet"}, 108057), ({"width": 8}, 202418 + 975)],
)
def test_it_has_the_parameters_of_its_parts(settings, parameters):
    assert count_parameters(build_network("reconet", settings)) == parameters


def test_its_cost_is_that_of_its_parts_and_sampling_is_not_counted():
    network = ReCoNet()
    parts = (network.register, network.fuser)
    assert count_multiply_adds(network, 32, 48) == sum(count_multiply_adds(part, 32, 48) for part in parts)


@torch.no_grad()
def test_every_setting_reaches_its_part():
    network = build_network("reconet", {"recurrences": 2, "squarings": 0, "border": "replicate"}).eval()
    torch.nn.init.constant_(network.register.last.bias, 5.0)
    infrared, visible = images(1, 1, 24, 24)
    found = network.correct(infrared, visible)
    assert len(found.steps) == 2
    assert torch.equal(found.flow, found.velocity)
    assert torch.equal(found.moved, warp(infrared, found.flow, "replicate"))
    assert not torch.equal(found.moved, warp(infrared, found.flow))
    with pytest.raises(SettingsError, match="reference: expected one of visible, infrared, got 'thermal'"):
        ReCoNetSettings(reference="thermal")


@torch.no_grad()
def test_an_untrained_register_leaves_the_fuser_as_it_is():
    torch.manual_seed(0)
    network = ReCoNet().eval()
    pair = images(1, 1, 24, 40)
    torch.testing.assert_close(network(*pair), network.fuser(*pair), atol=5e-3, rtol=0)


@torch.no_grad()
def test_features_are_the_attentions_and_the_flow_of_the_same_pass():
    network = strong()
    pair = images(2, 1, 20, 26)
    maps, found = network.features(*pair), network.correct(*pair)
    assert torch.equal(maps["flow"], found.flow)
    assert torch.equal(maps["attention_infrared"], found.steps[-1].attention_infrared)
    assert torch.equal(maps["attention_visible"], found.steps[-1].attention_visible)
    assert {feature.name: feature.channels for feature in network.feature_maps()} == {
        name: tensor.shape[1] for name, tensor in maps.items()
    }


def test_both_parts_learn_from_the_fused_image():
    network = strong(squarings=2).train()
    network(*images(2, 1, 16, 16)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.register.stem[0].weight.grad.abs().max() > 0
    assert network.fuser.attend_visible.conv.weight.grad.abs().max() > 0


@torch.no_grad()
def test_exported_and_symbolically_traced_it_serves_every_size():
    network = strong(squarings=1, recurrences=1)
    side = torch.export.Dim.DYNAMIC(min=16, max=1280)
    axes = {2: side, 3: side}
    exported = torch.export.export(network, tuple(images(1, 1, 48, 64)), dynamic_shapes=(axes, axes)).module()
    traced = torch.fx.symbolic_trace(network)
    for size in ((16, 16), (48, 64), (75, 41)):
        pair = images(1, 1, *size)
        found = network.correct(*pair)
        assert found.flow.abs().max() > 0.5  # pixels: the exported sampling is at work
        torch.testing.assert_close(exported(*pair), found.fused, atol=1e-4, rtol=0)
        torch.testing.assert_close(traced(*pair), found.fused, atol=1e-4, rtol=0)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@torch.no_grad()
def test_openvino_fuses_the_same_image(shared, pair):
    from fusion_ros.engines import EngineSettings, open_engine

    network = with_authors_weights(shared)
    sources = [pair[name][:, :, :27, :31].contiguous() for name in ("moving", "fixed")]
    engine = open_engine(network, EngineSettings(name="openvino", threads=1))
    fused = engine(*(image.numpy() for image in sources))
    np.testing.assert_allclose(fused, network(*sources).numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("reference", ["visible", "infrared"])
@pytest.mark.parametrize("size", [(37, 52), (64, 48)])
@torch.no_grad()
def test_the_deployed_form_gives_what_the_network_gives(reference, size):
    torch.manual_seed(4)
    network = ReCoNet(ReCoNetSettings(reference=reference, width=8)).eval()
    torch.nn.init.normal_(network.register.last.weight, std=5.0)  # moves by a few pixels, not by none
    images = torch.rand(2, 1, 1, *size).unbind()
    assert network.correct(*images).flow.abs().max() > 0.5
    torch.testing.assert_close(deployed(network, *size, 10_000)(*images), network(*images), atol=1e-5, rtol=0)
