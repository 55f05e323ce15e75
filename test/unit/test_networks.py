"""What holds for every network, by the one table that names them all."""

from __future__ import annotations

import pytest
import torch

from fusion_ros.errors import SettingsError
from fusion_ros.networks import NETWORKS, Gives, InputRange, build_network, count_multiply_adds, count_parameters
from fusion_ros.spec import Takes

SMALL = {"rfvif": {"width": 8, "extraction_stages": 1}}  # the sizes of the maps matter here, not their number
# Reflection at every border, and no position anywhere: a constant stays one, to the last pixel.
WITHOUT_BORDER = ("lrrnet", "rfn_nest", "rfvif")
# Neither pooling nor strides: (network, how far one pixel reaches).
EQUIVARIANT = (("reconet_fuser", 15), ("reconet_fuser_v1", 15), ("lrrnet", 12), ("didfuse", 7))
FUSING = [name for name, network in NETWORKS.items() if network.spec.gives is Gives.IMAGE]
TAKING_IMAGES = [name for name, network in NETWORKS.items() if network.spec.takes is Takes.IMAGES]
IMAGES = [name for name, network in NETWORKS.items() if network.spec.gives is not Gives.FEATURES]


def _network(name):
    torch.manual_seed(0)
    network = build_network(name, SMALL.get(name)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 2.0)
    return network


def _images(network, *shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = 255.0 if network.spec.input_range is InputRange.BYTE else 1.0
    return tuple(torch.rand(2, *shape, generator=generator) * scale)


def test_all_five_methods_are_there_under_their_own_names():
    assert {"reconet", "reconet_fuser", "rfvif", "rfn_nest", "lrrnet", "didfuse"} <= set(FUSING)
    assert all(network.spec.name == name for name, network in NETWORKS.items())
    assert {name for name in NETWORKS if NETWORKS[name].spec.aligns} == {"reconet", "rfvif"}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 16), (45, 58)])
@torch.no_grad()
def test_any_size_comes_out_as_it_went_in(name, size):
    network = _network(name)
    output = network(*_images(network, 1, 1, *size))
    channels = 2 if network.spec.gives is Gives.FLOW else 1
    assert output.shape == (1, channels, *size)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("size", [(1024, 1280), (1023, 1277)])
@torch.no_grad()
def test_large_images_fit_through_shape_by_shape(name, size):
    network = _network(name).to("meta")
    output = network(*(torch.empty(2, 1, *size, device="meta") for _ in range(2)))
    assert output.shape[0] == 2
    assert output.shape[-2:] == size


@pytest.mark.parametrize("name", TAKING_IMAGES)
@torch.no_grad()
def test_a_batch_gives_what_its_images_give_singly(name):
    network = _network(name)
    first, second = _images(network, 3, 1, 24, 40)
    batch = network(first, second)
    singles = torch.cat([network(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    scale = max(1.0, float(singles.abs().max()))
    torch.testing.assert_close(batch / scale, singles / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TAKING_IMAGES)
@torch.no_grad()
def test_features_have_the_stated_names_channels_and_sizes(name):
    network = _network(name)
    maps = network.features(*_images(network, 1, 1, 48, 64))
    described = {feature.name: feature for feature in network.feature_maps()}
    assert set(maps) == set(described)
    assert all(feature.help for feature in described.values())
    for key, tensor in maps.items():
        stride = described[key].stride
        assert tensor.shape == (1, described[key].channels, 48 // stride, 64 // stride), key


@pytest.mark.parametrize("name", WITHOUT_BORDER)
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (39, 41)])
@torch.no_grad()
def test_a_constant_pair_shows_no_border_and_no_seam(name, size):
    network = _network(name)
    scale = 255.0 if network.spec.input_range is InputRange.BYTE else 1.0
    output = network(torch.full((1, 1, *size), 0.3 * scale), torch.full((1, 1, *size), 0.6 * scale))
    spread = float(output.max() - output.min())
    assert spread <= 1e-4 * max(1.0, float(output.abs().max()))


@pytest.mark.parametrize(("name", "reach"), EQUIVARIANT)
@torch.no_grad()
def test_a_border_one_pixel_further_changes_nothing_beyond_its_reach(name, reach):
    network = _network(name)
    images = _images(network, 1, 1, 50, 60)
    whole = network(*images)
    cut = network(*(image[..., 1:, 1:] for image in images))
    inside = (..., slice(reach, -reach), slice(reach, -reach))
    torch.testing.assert_close(cut[inside], whole[..., 1:, 1:][inside], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FUSING)
def test_costs_grow_with_the_image_and_parameters_do_not(name):
    network = _network(name)
    small, large = (count_multiply_adds(network, side, side) for side in (64, 128))
    assert 3.5 * small < large < 4.5 * small
    assert count_parameters(network) == sum(tensor.numel() for tensor in network.parameters())


def test_multiply_adds_are_those_of_a_convolution_counted_by_hand():
    network = torch.nn.Conv2d(2, 5, 3, padding=1)

    class Both(torch.nn.Module):
        def forward(self, infrared, visible):
            return network(torch.cat([infrared, visible], 1))

    assert count_multiply_adds(Both(), 7, 9) == 7 * 9 * 2 * 5 * 9


def test_a_wrong_name_or_setting_is_refused_with_the_nearest():
    with pytest.raises(SettingsError, match="did you mean 'lrrnet'"):
        build_network("lrnet")
    with pytest.raises(SettingsError, match="did you mean 'recurrences'"):
        build_network("reconet_fuser", {"recurrence": 2})
    with pytest.raises(SettingsError, match="recurrences: expected 1 to 16"):
        build_network("reconet_fuser", {"recurrences": 0})
