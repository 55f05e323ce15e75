"""Fused features: where cells lie, what their contrast is, and what the heads are given."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from fusion_ros.feature_grid import FeatureGrid
from fusion_ros.networks import (
    FusedFeatures,
    FusedFeaturesSettings,
    LRRNetTracking,
    RFNTracking,
    build_network,
    count_multiply_adds,
    count_parameters,
)
from fusion_ros.networks.fused_features import STRIDE, CameraFeatures, balanced, local_contrast

HEADS = ("rfn", "lrrnet")
FUSIONS = (*HEADS, "sum", "concatenation", "sum_and_difference")


def _network(fusion: str = "rfn", channels: int = 8, balance: float = 0.4) -> FusedFeatures:
    torch.manual_seed(3)
    chosen = {"head": fusion} if fusion in HEADS else {"fusion": fusion}
    return FusedFeatures(FusedFeaturesSettings(channels=channels, balance=balance, **chosen)).eval()


def _images(*size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(1, 1, *size, generator=generator) for _ in range(2))


# --- where cells lie ---


@torch.no_grad()
def test_an_image_that_moves_by_a_cell_moves_its_features_by_one():
    network = _network(balance=0.0)  # which is relative to the whole image
    whole = _images(160, 176)
    moved = tuple(image[..., STRIDE:, 3 * STRIDE :] for image in whole)
    # Mean and deviation reach 4 cells each, the convolutions as many.
    inside = (..., slice(12, -12), slice(12, -12))
    torch.testing.assert_close(network(*moved)[inside], network(*whole)[..., 1:, 3:][inside], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cells_are_centred_where_a_feature_grid_says():
    # With kernels that are their own mirror images, mirroring an image mirrors its features about the same line,
    # so the middle of the cells is the middle of the pixels.
    network = _network("sum")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            weight = module.weight + module.weight.flip(-1)
            module.weight.copy_(weight + weight.flip(-2))
    images = _images(32, 48)
    for axis, pixels in ((-2, 32), (-1, 48)):
        features = network(*images)
        mirrored = network(*(image.flip(axis) for image in images))
        torch.testing.assert_close(mirrored, features.flip(axis), atol=1e-5, rtol=1e-5)
        grid = FeatureGrid(features[0].permute(1, 2, 0).numpy(), STRIDE, (32, 48))
        assert grid.pixels((features.shape[axis] - 1) / 2) == (pixels - 1) / 2


@pytest.mark.parametrize("size", [(8, 8), (17, 31), (46, 35)])
@torch.no_grad()
def test_pixels_beyond_the_last_whole_cell_are_left_out(size):
    network = _network()
    images = _images(*size)
    height, width = size[0] // STRIDE, size[1] // STRIDE
    fused = network(*images)
    assert fused.shape == (1, 8, height, width)
    whole = network(*(image[..., : STRIDE * height, : STRIDE * width] for image in images))
    assert torch.equal(fused, whole)


# --- contrast ---


def _cell_means(image: np.ndarray) -> np.ndarray:
    """Means of 7 x 7 cells, as many as there are."""
    height, width = (side // STRIDE for side in image.shape)
    cells = image.reshape(height, STRIDE, width, STRIDE).mean((1, 3))
    return np.array(
        [[cells[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].mean() for x in range(width)] for y in range(height)]
    )


def _plain_surroundings(image: np.ndarray) -> np.ndarray:
    """These means, linear between cells' centres, flat beyond the outermost."""
    means = _cell_means(image)
    height, width = means.shape
    rows, columns = (np.arange(side) for side in image.shape)
    centres = [STRIDE * np.arange(side) + 1.5 for side in (height, width)]
    down = np.stack([np.interp(rows, centres[0], column) for column in means.T], axis=1)
    return np.stack([np.interp(columns, centres[1], row) for row in down])


def test_contrast_equals_the_definition_in_numpy():
    image = np.random.default_rng(5).random((48, 64))
    centred = image - _plain_surroundings(image)
    expected = centred / np.sqrt(_plain_surroundings(centred**2) + 0.02**2)
    got, variance = local_contrast(torch.from_numpy(image)[None, None])
    np.testing.assert_allclose(got[0, 0], expected, atol=1e-12)
    np.testing.assert_allclose(variance[0, 0], _cell_means(centred**2), atol=1e-12)


@torch.no_grad()
def test_gain_and_offset_of_a_camera_hardly_change_its_features():
    image, _ = _images(64, 64)
    network = _network("sum")
    features = network.backbone(image).values
    assert (network.backbone(0.5 * image + 0.3).values - features).abs().max() < 0.02 * features.abs().max()


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@torch.no_grad()
def test_an_image_without_contrast_has_none_and_its_features_say_nothing_of_places(level):
    flat = torch.full((1, 1, 64, 64), level)
    assert local_contrast(flat)[0].abs().max() < 1e-4
    features = _network().backbone(flat).values
    assert features.isfinite().all()
    inside = features[..., 3:-3, 3:-3]
    assert (inside - inside[..., :1, :1]).abs().max() < 1e-3


def test_faint_noise_is_not_made_as_strong_as_a_scene():
    noise = 0.5 + 0.004 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert 0.1 < local_contrast(noise)[0].std() < 0.25
    scene, _ = _images(64, 64)
    assert 0.95 < local_contrast(scene)[0].std() < 1.05


# --- balance ---


@pytest.mark.parametrize(("power", "weights"), [(0.0, (1.0, 1.0)), (0.5, (1.5, 0.5)), (1.0, (1.8, 0.2))])
def test_nine_times_the_contrast_gets_three_times_the_weight_by_the_root(power, weights):
    values = torch.rand(2, 3, 5, 7)
    street = CameraFeatures(values, torch.full((2, 1, 5, 7), 0.18))
    fog = CameraFeatures(values, torch.full((2, 1, 5, 7), 0.02))
    for given, weight in zip(balanced(street, fog, power), weights, strict=True):
        torch.testing.assert_close(given, weight * values)
    for given, weight in zip(balanced(fog, street, power), reversed(weights), strict=True):
        torch.testing.assert_close(given, weight * values)


@torch.no_grad()
def test_contrast_is_that_of_the_surroundings_over_that_of_the_image():
    image = np.random.default_rng(6).random((48, 64)) * np.linspace(0.05, 1.0, 64)
    variance = _cell_means((image - _plain_surroundings(image)) ** 2) + 0.005**2
    got = _network().double().backbone(torch.from_numpy(image)[None, None]).contrast
    np.testing.assert_allclose(got[0, 0], np.sqrt(variance / variance.mean()), rtol=1e-9)


@torch.no_grad()
def test_a_camera_of_little_contrast_counts_as_much_as_one_of_much():
    thermal, colour = _images(96, 160, seed=4)
    thermal = 0.5 + (thermal - 0.5) * torch.linspace(0.2, 1.0, 160)
    network = _network("sum")
    colour_seen = network.backbone(colour)

    def weight(image: torch.Tensor) -> torch.Tensor:
        contrast = network.backbone(image).contrast
        ones = CameraFeatures(torch.ones_like(contrast), contrast)
        return balanced(ones, CameraFeatures(torch.ones_like(contrast), colour_seen.contrast), 0.4)[0]

    torch.testing.assert_close(weight(0.5 + 0.2 * (thermal - 0.5)), weight(thermal), atol=0.02, rtol=0)


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
@torch.no_grad()
def test_a_camera_that_sees_nothing_is_the_same_everywhere(level):
    contrast = _network().backbone(torch.full((1, 1, 64, 64), level)).contrast
    torch.testing.assert_close(contrast, torch.ones_like(contrast), atol=1e-3, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
@torch.no_grad()
def test_cameras_that_see_alike_are_fused_as_they_are(fusion):
    image, _ = _images(48, 64)
    torch.testing.assert_close(_network(fusion)(image, image), _network(fusion, balance=0.0)(image, image))


@torch.no_grad()
def test_fog_in_one_image_hides_less_of_the_other_where_it_lies_and_nothing_elsewhere():
    thermal, colour = _images(96, 160, seed=2)
    left = torch.arange(160) < 80
    foggy = torch.where(left, 0.9 + 0.02 * (colour - 0.5), colour)
    network, plain = _network("sum"), _network("sum", balance=0.0)
    alone = network.features(thermal, thermal)["infrared"]

    def likeness(fused: torch.Tensor, part: slice) -> float:
        return float(torch.cosine_similarity(fused[..., part].flatten(), alone[..., part].flatten(), dim=0))

    inside, outside = slice(0, 9), slice(32, None)  # cells that the edge of the fog does not reach
    fused, plainly = network(thermal, foggy), plain(thermal, foggy)
    assert likeness(fused, inside) > likeness(plainly, inside) + 0.05
    clear = network(thermal, colour)[..., outside]
    assert likeness(fused, outside) > likeness(network(thermal, colour), outside) - 0.05
    assert (fused[..., outside] - clear).abs().mean() < 0.2 * clear.abs().mean()


# --- backbone and heads ---


@torch.no_grad()
def test_both_cameras_have_the_same_backbone():
    network = _network()
    first, second = _images(32, 32)
    one, other = network.features(first, second), network.features(second, first)
    assert torch.equal(one["infrared"], other["visible"])
    assert torch.equal(one["visible"], other["infrared"])
    assert not torch.equal(one["fused"], other["fused"])


@torch.no_grad()
def test_no_cell_has_more_energy_than_one_a_channel():
    image, _ = _images(64, 64)
    energy = _network().backbone(image).values.square().mean(dim=1)
    assert 0.1 < energy.mean() < energy.max() < 1


@torch.no_grad()
def test_a_head_is_the_papers_module_between_the_cameras_features():
    images = _images(32, 32)
    for head, module in (("rfn", RFNTracking), ("lrrnet", LRRNetTracking)):
        network = _network(head, balance=0.0)
        assert isinstance(network.head, module)
        maps = network.features(*images)
        assert torch.equal(maps["fused"], network.head(maps["infrared"], maps["visible"]))
        assert torch.equal(network(*images), maps["fused"])


@torch.no_grad()
def test_any_weights_can_be_added_or_put_side_by_side_instead():
    images = _images(32, 32)
    trained = _network("rfn")
    for fusion, of in (("sum", torch.add), ("concatenation", lambda *maps: torch.cat(maps, dim=1))):
        network = _network(fusion, balance=0.0)
        network.load_state_dict(trained.state_dict())
        maps = network.features(*images)
        assert torch.equal(maps["fused"], of(maps["infrared"], maps["visible"]))
        assert torch.equal(network(*images), maps["fused"])
        assert {item.name: item.channels for item in network.feature_maps()} == {
            name: values.shape[1] for name, values in maps.items()
        }


@torch.no_grad()
def test_the_difference_beside_the_sum_counts_for_as_much_as_is_said():
    images = _images(32, 32)
    side_by_side = _network("concatenation")(*images)
    infrared, visible = side_by_side.chunk(2, dim=1)
    for weight in (0.0, 0.55, 1.0):
        network = FusedFeatures(FusedFeaturesSettings(channels=8, fusion="sum_and_difference", difference=weight))
        network.load_state_dict(_network("concatenation").state_dict())
        agreed, differing = network.eval()(*images).chunk(2, dim=1)
        torch.testing.assert_close(agreed, (infrared + visible) / 2**0.5)
        torch.testing.assert_close(differing, weight * (infrared - visible) / 2**0.5)
    # With a weight of 1 nothing is lost: products of features are those of both side by side.
    both = torch.cat([agreed, differing], dim=1).flatten(2)
    apart = side_by_side.flatten(2)
    torch.testing.assert_close(both.mT @ both, apart.mT @ apart, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_a_gradient_reaches_every_weight(head):
    network = _network(head).train()
    network(*_images(48, 48)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.parametrize("head", FUSIONS)
@torch.no_grad()
def test_openvino_can_run_it(head):
    from fusion_ros.engines.openvino_graph import openvino_graph
    from fusion_ros.engines.openvino_runtime import core

    network, images = _network(head), _images(61, 83)
    graph = openvino_graph(network, *(tuple(image.shape) for image in images))
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = compiled([image.numpy() for image in images])[0]
    np.testing.assert_allclose(given, network(*images).numpy(), atol=1e-5)


def test_it_is_small_enough_for_a_cpu():
    network = build_network("fused_features")
    assert count_multiply_adds(network, 480, 640) < 1.65e9
    assert f"{count_parameters(network):,} parameters" in FusedFeatures.__doc__
