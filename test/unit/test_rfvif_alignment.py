"""RFVIF's alignment: kernels that move a map by exactly what they say."""

from __future__ import annotations

import numpy as np
import pytest
import rfvif_in_numpy as paper
import torch
from rfvif_in_numpy import C, array, assert_same, run

from fusion_ros.networks.rfvif_alignment import FDAM, FeatureAlignmentBlock, dynamic_convolution

pytestmark = pytest.mark.usefixtures("one_thread")


def test_dynamic_convolution_gives_every_channel_of_every_image_its_own_kernel():
    features, kernels = array(2, C, 4, 6), array(2, C, 5, 5, seed=1)
    padded = np.pad(features, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    expected = np.zeros_like(features)
    for b, c, y, x in np.ndindex(features.shape):
        expected[b, c, y, x] = (padded[b, c, y : y + 5, x : x + 5] * kernels[b, c]).sum()
    assert_same(run(dynamic_convolution, features, kernels), expected)


def _delta(size, dx=0, dy=0, channels=C):
    kernel = torch.zeros(1, channels, size, size)
    kernel[:, :, size // 2 + dy, size // 2 + dx] = 1.0
    return kernel


@pytest.mark.parametrize("size", [3, 5, 7])
def test_the_kernel_that_is_one_at_its_centre_changes_nothing(size):
    features = torch.randn(1, C, 6, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dynamic_convolution(features, _delta(size)), features)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (-1, 1)])
def test_an_alignment_block_moves_the_map_by_exactly_what_its_kernels_say(dx, dy):
    torch.manual_seed(0)
    block = FeatureAlignmentBlock(C).eval()
    features = torch.zeros(1, C, 12, 14)
    features[:, :, 5:8, 5:9] = torch.rand(1, C, 3, 4)
    with torch.no_grad():
        still = block(features, [_delta(size) for size in (3, 5, 7)])
        moved = block(features, [_delta(size, dx, dy) for size in (3, 5, 7)])
    assert still.std() > 1e-3
    torch.testing.assert_close(moved, still.roll((-dy, -dx), (2, 3)), atol=1e-6, rtol=0)


def _force(fdam, dx, dy):
    """Let the generator give these kernels for all images."""
    with torch.no_grad():
        for branch, size in zip(fdam.generator.branches, (3, 5, 7), strict=True):
            branch.fully_connected.weight.zero_()
            branch.fully_connected.bias.copy_(_delta(size, dx, dy).flatten())


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_in_a_chain_each_move_the_infrared_map_and_leave_the_grid_to_the_visible_one(blocks):
    torch.manual_seed(1)
    fdam = FDAM(C, blocks).eval()
    with torch.no_grad():  # only the last block counts: the others have moved less
        fdam.combine.weight[:, : (blocks - 1) * C] = 0
    infrared, visible = torch.zeros(1, C, 20, 20), torch.rand(1, C, 20, 20)
    infrared[:, :, 9:12, 8:12] = torch.rand(1, C, 3, 4)
    with torch.no_grad():
        _force(fdam, 0, 0)
        still = fdam(infrared, visible)
        _force(fdam, 1, -1)
        moved = fdam(infrared, visible)
    assert still.image.std() > 1e-4
    for before, after in zip(still, moved, strict=True):
        torch.testing.assert_close(after, before.roll((blocks, -blocks), (2, 3)), atol=1e-6, rtol=0)


def test_new_kernels_move_nothing_yet_differ_between_pairs():
    torch.manual_seed(0)
    kernels = FDAM(16, 2).generator(torch.rand(2, 16, 9, 9), torch.rand(2, 16, 9, 9))
    for size, kernel in zip((3, 5, 7), kernels, strict=True):
        assert kernel.shape == (2, 16, size, size)
        assert 0 < (kernel - _delta(size, channels=16)).abs().max() < 0.05
        assert not torch.equal(kernel[0], kernel[1])


def test_aligned_features_and_image_are_mapped_from_all_blocks():
    torch.manual_seed(0)
    fdam = FDAM(C, 2).double().eval()
    infrared, visible = torch.rand(2, 1, C, 6, 7, dtype=torch.float64)
    with torch.no_grad():
        kernels = fdam.generator(infrared, visible)
        first = fdam.blocks[0](infrared, kernels)
        second = fdam.blocks[1](first, kernels)
        aligned = fdam(infrared, visible)
    features = paper.conv(fdam.combine, paper.cat(first.numpy(), second.numpy()))
    assert_same(aligned.features.numpy(), features)
    assert_same(aligned.image.numpy(), paper.conv(fdam.reconstruct, features))
