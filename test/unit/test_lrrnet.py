"""LRRNet against what the authors' network gave: on stored crops, step by step, and as published."""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
import torch
from torch import fx
from torch.nn import functional as F

from fusion_ros.networks import LRRNet, LRRNetSettings, count_multiply_adds, count_parameters
from fusion_ros.networks.lrrnet import soft_threshold
from fusion_ros.networks.lrrnet_strips import LRRNetStrips
from fusion_ros.spec import InputRange, OutputRange
from fusion_ros.weights import load_upstream

CROPS = ("odd_tno_05", "roadscene_FLIR_04602", "roadscene_FLIR_05005", "tno_01", "tno_05", "tno_16", "tno_30")
PUBLISHED = (6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 21)  # those whose sources are known
PARTS = {"low_rank_infrared": "x_l", "sparse_infrared": "x_h", "low_rank_visible": "y_l", "sparse_visible": "y_h",
         "low_rank": "fl", "sparse": "fh"}  # fmt: skip

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO (make test installs it)"
)


@pytest.fixture(scope="module")
def authors(shared):
    return load_upstream(LRRNet(), shared / "weights" / "upstream" / "lrrnet.safetensors").requires_grad_(False)


def _reference(shared, name):
    with np.load(shared / "reference" / "lrrnet" / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def _sources(reference):
    return torch.from_numpy(reference["ir_in"]), torch.from_numpy(reference["vis_in"])


def _stretched(image):
    return (image - image.min()) / (image.max() - image.min() + 1e-5)


def _levels(output):
    return np.trunc(_stretched(np.asarray(output)[0, 0]) * 255)


def _assert_close(tensor, expected, name=""):
    np.testing.assert_allclose(tensor.numpy(), expected, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize("crop", CROPS)
def test_output_equals_the_authors_network(shared, authors, crop):
    reference = _reference(shared, crop)
    fused = authors(*_sources(reference))
    _assert_close(fused, reference["out"])
    assert np.abs(_levels(fused) - reference["out_u8"]).max() <= 1


@pytest.mark.parametrize("name", ["odd_tno_05", "intermediates_16x16"])
def test_every_part_of_the_decoder_equals_the_authors(shared, authors, name):
    reference = _reference(shared, name)
    parts = authors.parts(*_sources(reference))._asdict()
    assert parts.keys() == PARTS.keys()
    for part, theirs in PARTS.items():
        _assert_close(parts[part], reference[theirs], part)


def test_coefficients_after_every_block_equal_the_authors(shared, authors):
    reference = _reference(shared, "intermediates_16x16")
    steps = authors.infrared.unroll(torch.from_numpy(reference["ir_in"]))
    assert len(steps) == 5
    for number, step in enumerate(steps):
        _assert_close(step, reference[f"branch_ir_z{number}"], f"Z{number}")


def test_low_rank_and_sparse_coefficients_can_be_read(shared, authors):
    reference = _reference(shared, "intermediates_16x16")
    features = authors.features(*_sources(reference))
    _assert_close(features["low_rank_visible"], reference["fea_y_l"])
    _assert_close(features["sparse_visible"], reference["fea_y_s"])
    _assert_close(features["low_rank_infrared"], reference["branch_ir_z4"][:, :128])
    _assert_close(features["sparse_infrared"], reference["branch_ir_z4"][:, 128:])


@needs_openvino
@pytest.mark.parametrize("number", PUBLISHED)
def test_published_results_are_met_to_one_grey_level(shared, authors, number):
    from fusion_ros.engines.openvino_graph import openvino_graph
    from fusion_ros.engines.openvino_runtime import core

    def read(*folders):
        return cv2.imread(str(shared.joinpath("data", *folders, f"{number:02}.png")), cv2.IMREAD_GRAYSCALE)

    sources = [_stretched(read("tno21", kind).astype(np.float32))[None, None] for kind in ("ir", "vis")]
    shape = sources[0].shape
    # The deployed form: the plain one takes minutes for these images.
    graph = openvino_graph(LRRNetStrips(authors, *shape[2:]), shape, shape)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    output = core().compile_model(graph, "CPU", options)(sources)[0]
    difference = np.abs(_levels(output) - read("reference", "lrrnet_tno21"))
    assert difference.max() <= 1
    assert difference.mean() < 1e-3


def test_it_has_the_papers_number_of_parameters():
    assert count_parameters(LRRNet()) == 49_204
    # A block: 256 coefficients to an image and back. Merging by addition has one kernel less for each part.
    assert count_parameters(LRRNet(LRRNetSettings(blocks=5))) == 49_204 + 2 * (2 * 256 * 9 + 1 + 256)
    assert count_parameters(LRRNet(LRRNetSettings(fusion="add"))) == 49_204 - 2 * 9


def test_multiply_adds_are_those_of_its_convolutions():
    wide = 1 + 2 * 4 + 1  # convolutions between one channel and 256: embedding, blocks, reconstruction
    assert count_multiply_adds(LRRNet(), 16, 24) == 16 * 24 * 9 * (2 * wide * 256 + 2 * 2)


def test_the_soft_threshold_is_that_of_another_library_and_holds_below_zero():
    u = torch.linspace(-2, 2, 401)
    torch.testing.assert_close(soft_threshold(u, torch.tensor(0.37)), F.softshrink(u, 0.37))
    u, threshold = torch.tensor([-0.5, -1e-9, 0.0, 1e-9, 0.5]), torch.tensor(-0.25)
    torch.testing.assert_close(soft_threshold(u, threshold), torch.tensor([-0.75, -0.25, 0.0, 0.25, 0.75]))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = LRRNet(LRRNetSettings(channels=4, blocks=2))
    network(*torch.rand(2, 1, 1, 16, 16)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@torch.no_grad()
def test_added_parts_are_concatenated_parts_of_equal_weight():
    torch.manual_seed(0)
    added = LRRNet(LRRNetSettings(channels=4, fusion="add")).eval()
    state = added.state_dict()
    for name in ("merge_low_rank.weight", "merge_sparse.weight"):
        state[name] = state[name].repeat(1, 2, 1, 1)
    joined = LRRNet(LRRNetSettings(channels=4)).eval()
    joined.load_state_dict(state)
    images = torch.rand(2, 1, 1, 17, 23)
    torch.testing.assert_close(added(*images), joined(*images), atol=1e-6, rtol=0)


def test_its_images_are_stretched_and_its_grey_levels_cut():
    assert LRRNet.spec.input_range is InputRange.STRETCHED
    assert LRRNet.spec.output_range is OutputRange.STRETCHED
    assert LRRNet.spec.truncates


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_singly(shared, authors):
    pairs = [_sources(_reference(shared, crop)) for crop in ("tno_01", "tno_05")]
    pairs = [[image[..., 90:121, 70:117] for image in pair] for pair in pairs]
    batch = authors(*(torch.cat(images) for images in zip(*pairs, strict=True)))
    torch.testing.assert_close(batch, torch.cat([authors(*pair) for pair in pairs]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("fusion", ["cat", "add"])
@torch.no_grad()
def test_it_is_traced_and_exported_for_any_size(fusion):
    torch.manual_seed(0)
    network = LRRNet(LRRNetSettings(channels=8, fusion=fusion)).eval()
    traced = fx.symbolic_trace(network)
    axes = {2: torch.export.Dim("height", min=16, max=1280), 3: torch.export.Dim("width", min=16, max=1280)}
    example = tuple(torch.rand(2, 1, 1, 24, 40))
    exported = torch.export.export(network, example, dynamic_shapes=(axes, axes)).module()
    for size in ((16, 16), (33, 47), (48, 21)):
        images = torch.rand(2, 1, 1, *size)
        expected = network(*images)
        assert expected.shape == (1, 1, *size)
        torch.testing.assert_close(traced(*images), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(exported(*images), expected, atol=1e-4, rtol=0)
