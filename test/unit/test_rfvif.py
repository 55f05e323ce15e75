"""RFVIF as a whole against what it promises; its parts are held in two files of their own."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import SettingsError
from fusion_ros.networks import RFVIF, RFVIFSettings, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def _network(seed=0, **settings) -> RFVIF:
    """Return a small network that is far from its start: strong contrast, kernels that depend on the pair."""
    torch.manual_seed(seed)
    network = RFVIF(RFVIFSettings(**{"width": 4, "extraction_stages": 1, **settings})).eval()
    with torch.no_grad():
        network.reconstruct.last[-1].weight.mul_(30)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2.0)
            if isinstance(module, nn.Linear):
                module.weight.mul_(200)
    return network


def _images(*shape, seed=0):
    return tuple(torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(scope="module")
def network() -> RFVIF:
    return _network()


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (40, 33)])
@torch.no_grad()
def test_any_size_is_kept_in_a_batch_as_alone(network, size):
    network = copy.deepcopy(network).double()
    infrared, visible = (image.double() for image in _images(3, 1, *size))
    fused = network(infrared, visible)
    assert fused.shape == (3, 1, *size)
    assert 0 < fused.min() < fused.max() < 1
    assert fused.std() > 0.005  # else a comparison would say little
    singles = torch.cat([network(infrared[i : i + 1], visible[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(fused, singles, atol=1e-10, rtol=0)


@torch.no_grad()
def test_other_sizes_are_the_reflected_image_cut_back(network):
    infrared, visible = _images(1, 1, 33, 42)
    border = ((0, 0), (0, 0), (0, 7), (0, 6))
    mirrored = [np.pad(image.numpy(), border, mode="reflect") for image in (infrared, visible)]
    whole = network(*map(torch.from_numpy, mirrored))
    torch.testing.assert_close(network(infrared, visible), whole[:, :, :33, :42], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(32, 40), (33, 47)])
@torch.no_grad()
def test_a_constant_pair_gives_a_constant_without_border_or_seam(network, size):
    fused = network(torch.full((1, 1, *size), 0.2), torch.full((1, 1, *size), 0.7))
    assert fused.max() - fused.min() < 1e-6


@torch.no_grad()
def test_the_parts_are_joined_as_figure_2_shows(network):
    infrared, visible = _images(1, 1, 24, 32)
    extract = network.extract
    of_infrared, of_visible = extract.embed_infrared(infrared), extract.embed_visible(visible)
    small_infrared, small_visible = infrared, visible
    fused, scales, images = [], [], []
    for level in range(3):
        of_infrared, of_visible = extract.modulations[level](
            extract.infrared_parts[level](of_infrared), extract.visible_parts[level](of_visible)
        )
        aligned = network.align[level](of_infrared, of_visible)
        images.append(aligned.image)
        fused.append(network.fuse[level](aligned.features, of_visible))
        small_infrared, small_visible = (
            F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
            for image in (small_infrared, small_visible)
        )
        scales.append((small_infrared, small_visible))
    mixed = network.mix(fused)
    refined = [network.refine[level](mixed[level], *scales[level]) for level in range(3)]
    expected = network.reconstruct(network.collect(*refined))
    assert [len(part) for part in extract.infrared_parts] == [3, 2, 2]
    parts = network.unroll(infrared, visible)
    torch.testing.assert_close(parts.fused, expected, atol=1e-4, rtol=0)
    for actual, image in zip(parts.aligned, images, strict=True):
        torch.testing.assert_close(actual, image, atol=1e-4, rtol=0)


@torch.no_grad()
def test_both_sources_count_and_so_does_their_order(network):
    infrared, visible = _images(1, 1, 24, 32)
    fused = network(infrared, visible)
    black = torch.zeros_like(infrared)
    for other in ((visible, infrared), (black, visible), (infrared, black)):
        assert (network(*other) - fused).abs().mean() > 1e-3


@pytest.mark.parametrize("size", [(32, 48), (27, 45)])
@torch.no_grad()
def test_what_happens_on_the_way_has_half_a_quarter_and_an_eighth_of_the_size(network, size):
    infrared, visible = _images(2, 1, *size)
    parts = network.unroll(infrared, visible)
    assert torch.equal(parts.fused, network(infrared, visible))
    sizes = [tuple(-(-side // 2**level) for side in size) for level in (1, 2, 3)]
    for maps, channels in ((parts.aligned, 1), (parts.aligned_features, 4), (parts.fused_features, 4)):
        assert [tuple(features.shape) for features in maps] == [(2, channels, *s) for s in sizes]
    assert [tuple(image.shape) for image in network.scaled(infrared)] == [(2, 1, *s) for s in sizes]


@torch.no_grad()
def test_features_are_those_of_the_unrolled_network_as_described(network):
    images = _images(1, 1, 27, 45)
    parts, maps = network.unroll(*images), network.features(*images)
    expected = {f"aligned_{level}": parts.aligned_features[level - 1] for level in (1, 2, 3)}
    expected |= {f"fused_{level}": parts.fused_features[level - 1] for level in (1, 2, 3)}
    assert {name: tensor.shape for name, tensor in maps.items()} == {n: t.shape for n, t in expected.items()}
    assert all(torch.equal(maps[name], tensor) for name, tensor in expected.items())
    for described in network.feature_maps():
        assert maps[described.name].shape[1] == described.channels
        assert maps[described.name].shape[2] == -(-27 // described.stride)
    assert len(network.feature_maps()) == len(maps)


def test_images_are_scaled_by_halving_them_bilinearly():
    image = _images(1, 1, 24, 40)[0]
    expected = image
    for scaled in RFVIF.scaled(image):
        expected = F.interpolate(expected, scale_factor=0.5, mode="bilinear", align_corners=False)
        torch.testing.assert_close(scaled, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_settings_change_what_they_say():
    images = _images(1, 1, 16, 24)
    plain = _network()
    for count in (1, 2, 3):
        network = _network(alignment_blocks=count)
        assert [len(align.blocks) for align in network.align] == [count] * 3
    # The same weights: these two change no parameter.
    for change in ({"neighbourhood": 5}, {"temperature": 0.1}):
        assert (_network(**change)(*images) - plain(*images)).abs().max() > 1e-5
    assert len(_network(extraction_stages=2).extract.infrared_parts[0][0].small) == 2
    assert RFVIFSettings().width == 64
    assert RFVIFSettings().alignment_blocks == 2
    with pytest.raises(SettingsError, match="neighbourhood"):
        build_network("rfvif", {"neighbourhood": 4})


def _pair(size=32, shift=(4, -3)):
    """Return an infrared image, the same registered, and a visible image, brightest where they are dark."""
    generator = torch.Generator().manual_seed(3)
    scene = F.interpolate(torch.rand(1, 1, 10, 10, generator=generator), size=64, mode="bicubic").clamp(0, 1)
    dx, dy = shift
    registered = scene[:, :, 8 : 8 + size, 8 : 8 + size]
    infrared = scene[:, :, 8 - dy : 8 - dy + size, 8 - dx : 8 - dx + size]
    return infrared, registered, 1 - registered.sqrt()


def _alignment_loss(images, targets):
    return sum((image - target).abs().mean() for image, target in zip(images, targets, strict=True))


def test_the_alignment_loss_teaches_it_to_move_the_infrared_image():
    torch.manual_seed(0)
    network = RFVIF(RFVIFSettings(width=8, extraction_stages=1))
    infrared, registered, visible = _pair()
    targets = network.scaled(registered)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        levels = network.extract(infrared, visible)
        aligned = [align(*level).image for align, level in zip(network.align, levels, strict=True)]
        loss = _alignment_loss(aligned, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    unmoved = _alignment_loss(network.scaled(infrared), targets).item()
    assert losses[-1] < 0.3 * losses[0]
    assert losses[-1] < 0.5 * unmoved


def test_every_parameter_learns_from_the_fused_and_the_aligned_images():
    torch.manual_seed(0)
    network = RFVIF(RFVIFSettings(width=8, extraction_stages=2))
    infrared, visible = _images(2, 1, 16, 24)
    parts = network.unroll(infrared, visible)
    loss = (parts.fused - visible).abs().mean() + _alignment_loss(parts.aligned, network.scaled(infrared))
    loss.backward()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert not still


@torch.no_grad()
def test_one_export_serves_every_size():
    network = _network(width=2, alignment_blocks=1)
    sides = {2: torch.export.Dim("height", min=16, max=1280), 3: torch.export.Dim("width", min=16, max=1280)}
    exported = torch.export.export(network, _images(1, 1, 24, 32), dynamic_shapes=(sides, sides)).module()
    for size in ((16, 16), (37, 23), (40, 57)):
        images = _images(1, 1, *size)
        fused = network(*images)
        assert fused.std() > 0.005
        torch.testing.assert_close(exported(*images), fused, atol=1e-4, rtol=0)


@torch.no_grad()
def test_it_can_be_read_symbolically(network):
    images = _images(2, 1, 25, 30)
    assert torch.equal(torch.fx.symbolic_trace(network)(*images), network(*images))


@needs_openvino
@torch.no_grad()
def test_openvino_gives_what_torch_gives(network):
    engine = open_engine(network, EngineSettings(name="openvino", device="cpu", threads=1))
    images = _images(1, 1, 37, 26)
    expected = network(*images).numpy()
    assert expected.std() > 0.005
    np.testing.assert_allclose(engine(*(image.numpy() for image in images)), expected, atol=1e-4, rtol=0)
