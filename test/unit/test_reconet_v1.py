"""The second form of ReCoNet's fuser against what the authors' network gave with synthetic weights."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusion_ros.networks import ReCoNetFuserV1, ReCoNetFuserV1Settings, count_multiply_adds, count_parameters
from fusion_ros.weights import load_upstream

SHAPES = {
    "att_a_conv.weight": (1, 2, 3, 3),
    "att_b_conv.weight": (1, 2, 3, 3),
    **{f"decoder.conv_d.{d}.group.0.weight": (32, 3, 3, 3) for d in range(3)},
    **{f"decoder.conv_d.{d}.group.0.bias": (32,) for d in range(3)},
    "decoder.conv_s.0.weight": (1, 96, 3, 3),
    "decoder.conv_s.0.bias": (1,),
}


def synthetic(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The weights that the stored reference was computed with, drawn by the authors' name of each tensor."""
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
    return torch.from_numpy((drawn * scale).astype(np.float32))


@pytest.fixture(scope="module")
def fuser(tmp_path_factory) -> ReCoNetFuserV1:
    path = tmp_path_factory.mktemp("v1") / "fuser.safetensors"
    save_file({name: synthetic(name, shape) for name, shape in SHAPES.items()}, path)
    return load_upstream(ReCoNetFuserV1(), path)


@torch.no_grad()
def test_every_recurrence_equals_the_authors_network(shared, fuser):
    reference = np.load(shared / "reference" / "reconet_v1" / "fuser_dim32_syn.npz")
    images = torch.from_numpy(reference["ir_in"]), torch.from_numpy(reference["vis_in"])
    steps = fuser.unroll(*images)
    got = {
        "f1": steps[0].fused,
        "att_ir_1": steps[0].attention_infrared,
        "att_vis_1": steps[0].attention_visible,
        "f2": steps[1].fused,
        "out": fuser(*images),
    }
    for name, tensor in got.items():
        np.testing.assert_allclose(tensor.numpy(), reference[name], atol=1e-5, rtol=0, err_msg=name)


def test_it_is_as_small_as_it_is_said_to_be():
    network = ReCoNetFuserV1()
    assert count_parameters(network) == 3589
    by_hand = 3 * (2 * 2 * 9 + 3 * 3 * 32 * 9 + 96 * 9)  # recurrences x (attentions, dilated, fusing)
    assert count_multiply_adds(network, 20, 30) == by_hand * 20 * 30


@torch.no_grad()
def test_the_first_image_is_the_larger_or_the_mean():
    images = torch.full((1, 1, 8, 8), 0.2), torch.full((1, 1, 8, 8), 0.6)
    for initial, value in (("max", 0.6), ("mean", 0.4)):
        network = ReCoNetFuserV1(ReCoNetFuserV1Settings(initial=initial))
        torch.testing.assert_close(network.initial(*images), torch.full((1, 1, 8, 8), value))
    outputs = []
    for initial in ("max", "mean"):
        torch.manual_seed(0)
        outputs.append(ReCoNetFuserV1(ReCoNetFuserV1Settings(initial=initial))(*images))
    assert not torch.equal(*outputs)  # the setting reaches the forward pass


@torch.no_grad()
def test_more_recurrences_go_on_where_fewer_stopped(fuser):
    images = torch.rand(2, 2, 1, 15, 18, generator=torch.Generator().manual_seed(1))
    longer = ReCoNetFuserV1(ReCoNetFuserV1Settings(recurrences=5)).eval()
    longer.load_state_dict(fuser.state_dict())
    steps = longer.unroll(*images)
    assert len(steps) == 5
    torch.testing.assert_close(steps[2].fused, fuser(*images))
