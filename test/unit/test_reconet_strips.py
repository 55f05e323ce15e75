"""The rearranged ReCoNet computes what the plain one does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fusion_ros.networks import ReCoNetFuser, ReCoNetFuserSettings
from fusion_ros.networks.deployed import deployed
from fusion_ros.networks.reconet_strips import ReCoNetStrips


@pytest.fixture(scope="module")
def fuser() -> ReCoNetFuser:
    """A network whose normalisations are far from the identity, so that folding must be right."""
    generator = torch.Generator().manual_seed(7)
    network = ReCoNetFuser(ReCoNetFuserSettings(width=8))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5, generator=generator)
                module.running_var.uniform_(0.3, 3.0, generator=generator)
                module.weight.uniform_(-1.5, 1.5, generator=generator)
                module.bias.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def _images(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    infrared, visible = torch.rand(2, 1, 1, height, width, generator=generator)
    return infrared, visible


def _bytes_of_rows(rows: int, width: int) -> int:
    return rows * width * 8 * 4  # float32 maps of the fixture's 8 channels


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 1000])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (37, 53), (33, 16), (1, 1), (2, 7), (64, 1)])
@torch.no_grad()
def test_strips_of_any_height_equal_the_plain_network(fuser, height, width, rows):
    infrared, visible = _images(height, width)
    strips = ReCoNetStrips(fuser, height, width, cache_bytes=_bytes_of_rows(rows, width))
    assert len(strips.strips) == -(-height // rows)
    torch.testing.assert_close(strips(infrared, visible), fuser(infrared, visible), rtol=0, atol=1e-5)


@torch.no_grad()
def test_without_a_budget_the_whole_image_is_one_strip(fuser):
    infrared, visible = _images(40, 30)
    whole = ReCoNetStrips(fuser, 40, 30)
    assert whole.strips == ((0, 40),)
    torch.testing.assert_close(whole(infrared, visible), fuser(infrared, visible), rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_recurrence_count_and_the_released_width_are_kept():
    torch.manual_seed(0)
    infrared, visible = _images(24, 31)
    for recurrences in (1, 2, 5):
        plain = ReCoNetFuser(ReCoNetFuserSettings(recurrences=recurrences)).eval()
        strips = ReCoNetStrips(plain, 24, 31, cache_bytes=31 * 64 * 4 * 7)
        assert len(strips.strips) == 4
        torch.testing.assert_close(strips(infrared, visible), plain(infrared, visible), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_batch_is_fused_image_by_image(fuser):
    infrared, visible = torch.rand(2, 3, 1, 20, 22, generator=torch.Generator().manual_seed(1))
    strips = ReCoNetStrips(fuser, 20, 22, cache_bytes=_bytes_of_rows(6, 22))
    torch.testing.assert_close(strips(infrared, visible), fuser(infrared, visible), rtol=0, atol=1e-5)


def test_the_trained_network_stays_as_it_was(fuser):
    before = copy.deepcopy(fuser.state_dict())
    strips = ReCoNetStrips(fuser, 16, 16)
    with torch.no_grad():
        for parameter in strips.parameters():
            parameter.fill_(3.0)
    after = fuser.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.requires_grad for parameter in fuser.parameters())


def test_a_network_without_a_deployed_form_runs_as_it_is(fuser):
    other = nn.Conv2d(1, 1, 3)
    assert deployed(other, 32, 32) is other
    assert isinstance(deployed(fuser, 32, 32), ReCoNetStrips)
