"""RFVIF's parts against the paper's equations in plain NumPy, and the whole against what it promises."""

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
from fusion_ros.networks.rfvif_alignment import FDAM, FeatureAlignmentBlock, MaskFusion, dynamic_convolution
from fusion_ros.networks.rfvif_extraction import MSRB, CrossModulation
from fusion_ros.networks.rfvif_refinement import (
    PFFM,
    LevelMixing,
    LocalFeatureRefinement,
    gather_similar,
    laplacian,
    suppress_similar,
)

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
C = 3  # channels of the parts under test


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Run in one thread: handing out maps this small costs more than it saves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _filled(module: nn.Module, seed=0) -> nn.Module:
    """Return the module in double precision, every parameter random, so that none can hide by being zero."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def _run(module, *arrays, **options):
    with torch.no_grad():
        return module(*map(torch.from_numpy, arrays), **options).numpy()


def _same(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=0)


# The paper's operations, plainly.


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def _conv(module: nn.Conv2d, x):
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    reach, stride = weight.shape[-1] // 2, module.stride[0]
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    out = np.zeros((x.shape[0], weight.shape[0], -(-x.shape[2] // stride), -(-x.shape[3] // stride)))
    for row in range(out.shape[2]):
        for column in range(out.shape[3]):
            top, left = row * stride, column * stride
            patch = padded[:, :, top : top + weight.shape[2], left : left + weight.shape[3]]
            out[:, :, row, column] = np.tensordot(patch, weight, ([1, 2, 3], [1, 2, 3])) + bias
    return out


def _chain(modules: nn.Sequential, x):
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[:-1]:
        x = _leaky(_conv(convolution, x))
    return _conv(convolutions[-1], x)


def _cat(*arrays):
    return np.concatenate(arrays, axis=1)


def _cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def _double(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def _gathered(guide, features, side, temperature):
    reach = side // 2
    padded = np.pad(features, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    out = np.zeros_like(features)
    for b, y, x in np.ndindex(features.shape[0], *features.shape[2:]):
        vectors = padded[b, :, y : y + side, x : x + side].reshape(features.shape[1], -1).T
        weights = np.exp([_cosine(vector, guide[b, :, y, x]) / temperature for vector in vectors])
        out[b, :, y, x] = (weights / weights.sum()) @ vectors
    return out


def _suppressed(edges, features):
    out = np.zeros_like(features)
    for b, y, x in np.ndindex(features.shape[0], *features.shape[2:]):
        f = features[b, :, y, x]
        out[b, :, y, x] = (1 - _cosine(edges[b, :, y, x], f)) * f + f
    return out


def _laplacian(image):
    p = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    stencil = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    windows = np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(2, 3))
    return (windows * stencil).sum((-2, -1))


# Extraction


@pytest.mark.parametrize("stages", [1, 2])
def test_a_multi_scale_block_adds_what_both_kernel_sizes_see(stages):
    block, x = _filled(MSRB(C, stages)), _array(1, C, 5, 6)
    maps = x
    for stage in range(stages):
        seen = [_conv(branch[stage], maps) for branch in (block.small, block.large)]
        assert [branch[stage].kernel_size for branch in (block.small, block.large)] == [(3, 3), (5, 5)]
        maps = np.maximum(_cat(*seen), 0)
    _same(_run(block, x), x + _conv(block.merge, maps))


def test_cross_modulation_follows_equations_2_to_5():
    module = _filled(CrossModulation(C))
    infrared, visible = _array(2, C, 6, 8), _array(2, C, 6, 8, seed=1)
    looked = _cat(_conv(module.look_visible, visible), _conv(module.look_infrared, infrared))
    relation = _chain(module.relate, looked)
    assert relation.shape == (2, 2 * C, 3, 4)
    with torch.no_grad():
        modulated = module(torch.from_numpy(infrared), torch.from_numpy(visible))
    for own, features, part, result in (
        (relation[:, C:], infrared, module.modulate_infrared, modulated.infrared),
        (relation[:, :C], visible, module.modulate_visible, modulated.visible),
    ):
        gamma, beta = _sigmoid(_conv(part.gamma, own)), _sigmoid(_conv(part.beta, own))
        _same(result.numpy(), _conv(part.halve, features) * gamma + beta)


# Alignment


def test_dynamic_convolution_gives_every_channel_of_every_image_its_own_kernel():
    features, kernels = _array(2, C, 4, 6), _array(2, C, 5, 5, seed=1)
    padded = np.pad(features, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    expected = np.zeros_like(features)
    for b, c, y, x in np.ndindex(features.shape):
        expected[b, c, y, x] = (padded[b, c, y : y + 5, x : x + 5] * kernels[b, c]).sum()
    _same(_run(dynamic_convolution, features, kernels), expected)


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
    features = _conv(fdam.combine, _cat(first.numpy(), second.numpy()))
    _same(aligned.features.numpy(), features)
    _same(aligned.image.numpy(), _conv(fdam.reconstruct, features))


# Fusion and refinement


def test_mask_fusion_follows_equation_8_with_masks_that_sum_to_one():
    module = _filled(MaskFusion(C))
    aligned, visible = _array(1, C, 5, 4), _array(1, C, 5, 4, seed=1)
    mask = _sigmoid(_chain(module.convs, _cat(visible, aligned)))
    _same(_run(module, aligned, visible), aligned * mask + visible * (1 - mask))
    assert mask.std() > 0.05
    _same(_run(module, aligned, aligned), aligned)


@pytest.mark.parametrize(("side", "temperature"), [(3, 1.0), (5, 0.2), (1, 1.0)])
def test_visible_refinement_follows_equations_9_to_11(side, temperature):
    guide, features = _array(2, C, 4, 5), _array(2, C, 4, 5, seed=1)
    rebuilt = _run(gather_similar, guide, features, neighbourhood=side, temperature=temperature)
    _same(rebuilt, _gathered(guide, features, side, temperature))


def test_a_low_temperature_takes_the_one_neighbour_that_is_like_the_guide():
    features = torch.eye(9).reshape(1, 9, 3, 3)  # nine places, nine directions
    guide = torch.zeros(1, 9, 3, 3)
    guide[0, 2, 1, 1] = 5.0  # at the centre it asks for what lies to the upper right
    rebuilt = gather_similar(guide, features, 3, temperature=0.01)
    torch.testing.assert_close(rebuilt[:, :, 1, 1], features[:, :, 0, 2], atol=1e-6, rtol=0)


def test_infrared_refinement_follows_equation_12():
    edges, features = _array(2, C, 4, 5), _array(2, C, 4, 5, seed=1)
    _same(_run(suppress_similar, edges, features), _suppressed(edges, features))


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
    _same(_run(laplacian, image)[:, :, 1:-1, 1:-1], np.full((1, 1, 5, 6), 6.0 - 4.0))
    noise = _array(2, 1, 4, 5)
    _same(_run(laplacian, noise), _laplacian(noise))


def test_local_refinement_puts_both_branches_and_their_source_together():
    module = _filled(LocalFeatureRefinement(C, 3, 0.5))
    features, infrared, visible = _array(1, C, 4, 5), _array(1, 1, 4, 5, seed=1), _array(1, 1, 4, 5, seed=2)
    textured = _gathered(_chain(module.visible, _cat(visible, _laplacian(visible))), features, 3, 0.5)
    cleaned = _suppressed(_chain(module.infrared, _laplacian(infrared)), features)
    _same(_run(module, features, infrared, visible), _conv(module.merge, _cat(textured, cleaned, features)))


def test_mixing_is_a_convolution_of_all_levels_scaled_bilinearly_to_one():
    module = _filled(LevelMixing(C))
    pyramid = [torch.from_numpy(_array(1, C, 32 // 2**level, 16 // 2**level, seed=level)) for level in range(3)]
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
    module = _filled(PFFM(C))
    first, second, third = (_array(1, C, 12 // 2**level, 8 // 2**level, seed=level) for level in range(3))

    def fused(mask_of, fine, coarse):
        mask = _sigmoid(_conv(mask_of.conv, _cat(_double(coarse), fine)))
        return fine * mask + _double(coarse) * (1 - mask)

    upper, lower = fused(module.fine, first, second), fused(module.coarse, second, third)
    expected = _leaky(_chain(module.merge, _cat(_double(lower), upper)))
    _same(_run(module, first, second, third), expected)


# The network


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
