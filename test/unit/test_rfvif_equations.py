"""RFVIF's extraction, fusion and refinement against the paper's equations in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import rfvif_in_numpy as paper
import torch
import torch.nn.functional as F
from rfvif_in_numpy import C, array, assert_same, filled, run

from fusion_ros.networks.rfvif_alignment import MaskFusion
from fusion_ros.networks.rfvif_extraction import MSRB, CrossModulation
from fusion_ros.networks.rfvif_refinement import (
    PFFM,
    LevelMixing,
    LocalFeatureRefinement,
    gather_similar,
    laplacian,
    suppress_similar,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("stages", [1, 2])
def test_a_multi_scale_block_adds_what_both_kernel_sizes_see(stages):
    block, x = filled(MSRB(C, stages)), array(1, C, 5, 6)
    maps = x
    for stage in range(stages):
        seen = [paper.conv(branch[stage], maps) for branch in (block.small, block.large)]
        assert [branch[stage].kernel_size for branch in (block.small, block.large)] == [(3, 3), (5, 5)]
        maps = np.maximum(paper.cat(*seen), 0)
    assert_same(run(block, x), x + paper.conv(block.merge, maps))


def test_cross_modulation_follows_equations_2_to_5():
    module = filled(CrossModulation(C))
    infrared, visible = array(2, C, 6, 8), array(2, C, 6, 8, seed=1)
    looked = paper.cat(paper.conv(module.look_visible, visible), paper.conv(module.look_infrared, infrared))
    relation = paper.chain(module.relate, looked)
    assert relation.shape == (2, 2 * C, 3, 4)
    with torch.no_grad():
        modulated = module(torch.from_numpy(infrared), torch.from_numpy(visible))
    for own, features, part, result in (
        (relation[:, C:], infrared, module.modulate_infrared, modulated.infrared),
        (relation[:, :C], visible, module.modulate_visible, modulated.visible),
    ):
        gamma, beta = paper.sigmoid(paper.conv(part.gamma, own)), paper.sigmoid(paper.conv(part.beta, own))
        assert_same(result.numpy(), paper.conv(part.halve, features) * gamma + beta)


def test_mask_fusion_follows_equation_8_with_masks_that_sum_to_one():
    module = filled(MaskFusion(C))
    aligned, visible = array(1, C, 5, 4), array(1, C, 5, 4, seed=1)
    mask = paper.sigmoid(paper.chain(module.convs, paper.cat(visible, aligned)))
    assert_same(run(module, aligned, visible), aligned * mask + visible * (1 - mask))
    assert mask.std() > 0.05
    assert_same(run(module, aligned, aligned), aligned)


@pytest.mark.parametrize(("side", "temperature"), [(3, 1.0), (5, 0.2), (1, 1.0)])
def test_visible_refinement_follows_equations_9_to_11(side, temperature):
    guide, features = array(2, C, 4, 5), array(2, C, 4, 5, seed=1)
    rebuilt = run(gather_similar, guide, features, neighbourhood=side, temperature=temperature)
    assert_same(rebuilt, paper.gathered(guide, features, side, temperature))


def test_a_low_temperature_takes_the_one_neighbour_that_is_like_the_guide():
    features = torch.eye(9).reshape(1, 9, 3, 3)  # nine places, nine directions
    guide = torch.zeros(1, 9, 3, 3)
    guide[0, 2, 1, 1] = 5.0  # at the centre it asks for what lies to the upper right
    rebuilt = gather_similar(guide, features, 3, temperature=0.01)
    torch.testing.assert_close(rebuilt[:, :, 1, 1], features[:, :, 0, 2], atol=1e-6, rtol=0)


def test_infrared_refinement_follows_equation_12():
    edges, features = array(2, C, 4, 5), array(2, C, 4, 5, seed=1)
    assert_same(run(suppress_similar, edges, features), paper.suppressed(edges, features))


@pytest.mark.parametrize("function", [gather_similar, suppress_similar])
def test_a_vector_of_zeros_is_like_nothing_and_breaks_nothing(function):
    zeros = torch.zeros(1, C, 4, 4, requires_grad=True)
    features = torch.rand(1, C, 4, 4, requires_grad=True)
    for pair in ((zeros, features), (features, zeros)):
        function(*pair).sum().backward()
    assert torch.isfinite(zeros.grad).all()
    assert torch.isfinite(features.grad).all()


def test_the_gradient_map_of_a_paraboloid_is_its_curvature():
    y, x = np.mgrid[0:7, 0:8].astype(float)
    image = (3 * x**2 - 2 * y**2 + 5 * x)[None, None]
    assert_same(run(laplacian, image)[:, :, 1:-1, 1:-1], np.full((1, 1, 5, 6), 6.0 - 4.0))
    noise = array(2, 1, 4, 5)
    assert_same(run(laplacian, noise), paper.laplacian(noise))


def test_local_refinement_puts_both_branches_and_their_source_together():
    module = filled(LocalFeatureRefinement(C, 3, 0.5))
    features, infrared, visible = array(1, C, 4, 5), array(1, 1, 4, 5, seed=1), array(1, 1, 4, 5, seed=2)
    textured = paper.gathered(
        paper.chain(module.visible, paper.cat(visible, paper.laplacian(visible))), features, 3, 0.5
    )
    cleaned = paper.suppressed(paper.chain(module.infrared, paper.laplacian(infrared)), features)
    assert_same(
        run(module, features, infrared, visible), paper.conv(module.merge, paper.cat(textured, cleaned, features))
    )


def test_mixing_is_a_convolution_of_all_levels_scaled_bilinearly_to_one():
    module = filled(LevelMixing(C))
    pyramid = [torch.from_numpy(array(1, C, 32 // 2**level, 16 // 2**level, seed=level)) for level in range(3)]
    with torch.no_grad():
        mixed = module(pyramid)
    for level, result in enumerate(mixed):
        scaled = []
        for source, features in enumerate(pyramid):
            for _ in range(level - source):
                features = F.interpolate(features, scale_factor=0.5, mode="bilinear", align_corners=False)
            if source > level:
                features = F.interpolate(
                    features, scale_factor=2 ** (source - level), mode="bilinear", align_corners=False
                )
            scaled.append(features)
        convolutions = module.into[level]
        weight = torch.cat([convolution.weight for convolution in convolutions], dim=1)
        expected = torch.relu(F.conv2d(torch.cat(scaled, dim=1), weight, convolutions[level].bias))
        torch.testing.assert_close(result, expected, atol=1e-10, rtol=0)


def test_the_pyramid_is_fused_by_equations_13_to_15():
    module = filled(PFFM(C))
    first, second, third = (array(1, C, 12 // 2**level, 8 // 2**level, seed=level) for level in range(3))

    def fused(mask_of, fine, coarse):
        mask = paper.sigmoid(paper.conv(mask_of.conv, paper.cat(paper.double(coarse), fine)))
        return fine * mask + paper.double(coarse) * (1 - mask)

    upper, lower = fused(module.fine, first, second), fused(module.coarse, second, third)
    expected = paper.leaky(paper.chain(module.merge, paper.cat(paper.double(lower), upper)))
    assert_same(run(module, first, second, third), expected)
