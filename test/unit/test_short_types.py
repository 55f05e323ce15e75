"""Networks in the arithmetic of GPUs: float16 is the default there, and engines export in it."""

from __future__ import annotations

import copy

import pytest
import torch
from test_export import SMALL

from fusion_ros.networks import NETWORKS, build_network
from fusion_ros.networks.deployed import deployed
from fusion_ros.spec import Gives, InputRange, Takes
from fusion_ros.weights import load_network

SIZE = (32, 32)


def _images(name: str) -> list[torch.Tensor]:
    spec = NETWORKS[name].spec
    peak = 255 if spec.input_range is InputRange.BYTE else 1
    generator = torch.Generator().manual_seed(0)
    return [peak * torch.rand(1, 1, *SIZE, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("name", [name for name, kind in NETWORKS.items() if kind.spec.takes is Takes.IMAGES])
@torch.no_grad()
def test_a_network_runs_in_short_types(name, dtype):
    torch.manual_seed(7)
    network = deployed(build_network(name, SMALL.get(name, {})).eval(), *SIZE, cache_bytes=None)
    images = _images(name)
    expected = network(*images)
    got = copy.deepcopy(network).to(dtype)(*(image.to(dtype) for image in images)).float()
    assert got.shape == expected.shape and got.isfinite().all()
    if NETWORKS[name].spec.gives is not Gives.FLOW:
        assert (got - expected).abs().mean() < 0.1 * expected.abs().mean()


@pytest.mark.parametrize(("dtype", "most_px"), [(torch.float16, 0.05), (torch.bfloat16, 0.2)], ids=str)
@torch.no_grad()
def test_the_shipped_register_finds_the_same_flow_in_short_types(dtype, most_px):
    network = load_network("matching_register").eval()
    picture = torch.rand(1, 1, 140, 172, generator=torch.Generator().manual_seed(3))
    picture = torch.nn.functional.avg_pool2d(picture, 5, stride=1)  # structure, not noise alone
    moving, fixed = 1 - picture[..., 3:131, :160], picture[..., :128, 4:164]
    expected = network(moving, fixed)
    short = copy.deepcopy(network).to(dtype)(moving.to(dtype), fixed.to(dtype)).float()
    assert expected.norm(dim=1).mean() > 3
    assert (short - expected).norm(dim=1).mean() < most_px
