"""ReCoNet's registers against what the authors' networks gave, and the edges that they may look at."""

from __future__ import annotations

import copy
import importlib.util
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fusion_ros.checkpoints import upstream_names
from fusion_ros.networks import (
    ReCoNetMicroRegister,
    ReCoNetRegisterSettings,
    ReCoNetUNetRegister,
    count_multiply_adds,
    count_parameters,
)
from fusion_ros.networks.edges import edge_magnitude
from fusion_ros.networks.flow import integrate, warp
from fusion_ros.weights import load_upstream

REGISTERS = {"m": ReCoNetMicroRegister, "u": ReCoNetUNetRegister}
FOUR = ReCoNetRegisterSettings(inputs=4)
PAIRS = (
    "digits_3_to_8",
    "digits_7_shifted",
    "roadscene_04602_vis_to_ir",
    "tno_05_vis_shift3m2_to_ir",
    "tno_05_vis_shift3m2_to_vis",
)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def tensors(reference: dict[str, np.ndarray], *names: str) -> list[torch.Tensor]:
    return [torch.from_numpy(reference[name]) for name in names]


def strong(kind: str, settings: ReCoNetRegisterSettings | None = None) -> torch.nn.Module:
    """A register with random weights that finds flows of some pixels."""
    torch.manual_seed(5)
    network = REGISTERS[kind](settings).eval()
    torch.nn.init.normal_(network.last.weight, std=10.0)
    return network


def images(*shape: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return list(torch.rand(2, *shape, generator=generator))


def assert_equals_the_authors(
    velocity: torch.Tensor, moving: torch.Tensor, reference: dict[str, np.ndarray]
) -> None:
    """Each stage on the authors' own input: later ones magnify how another processor rounds the convolutions.

    The velocity to 1e-5 of its largest value, which reaches 40 pixels once integrated; the rest to 1e-6.
    """
    expected_velocity, expected_flow, expected_moved, expected_locations = (
        torch.from_numpy(reference[name]) for name in ("flow_raw", "flow_int", "moved", "locs")
    )
    expected_velocity, expected_flow, expected_locations = (  # theirs have x and y last
        tensor.permute(0, 3, 1, 2) for tensor in (expected_velocity, expected_flow, expected_locations)
    )
    moving = moving.float()
    for got, expected, tolerance in (
        (velocity.float(), expected_velocity, 1e-5),
        (integrate(expected_velocity), expected_flow, 1e-6),
        (warp(moving, expected_flow), expected_moved, 1e-6),
        (locations(expected_flow), expected_locations, 1e-6),
    ):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(got / scale, expected / scale, atol=tolerance, rtol=0)


def locations(flow: torch.Tensor) -> torch.Tensor:
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    span = torch.tensor([width - 1, height - 1]).reshape(1, 2, 1, 1)
    return 2 * (torch.stack([x, y])[None] + flow) / span - 1


@pytest.fixture(scope="module")
def authors(shared):
    folder = shared / "weights" / "upstream"
    return {
        kind: load_upstream(register(), folder / f"reconet_{kind}register_mnist.safetensors")
        for kind, register in REGISTERS.items()
    }


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_velocity_flow_and_moved_image_equal_the_authors(shared, authors, kind, pair):
    reference = arrays(shared / "reference" / f"reconet_{kind}register" / f"{pair}.npz")
    moving, fixed = (image.double() for image in tensors(reference, "moving", "fixed"))
    network = copy.deepcopy(authors[kind]).double()
    velocity = network.velocity(moving, fixed)
    assert_equals_the_authors(velocity, moving, reference)
    torch.testing.assert_close(network(moving, fixed), integrate(velocity))


@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_the_form_with_edges_equals_the_authors_with_their_edges_and_with_ours(shared, tmp_path, kind):
    reference = arrays(shared / "reference" / "reconet_v1" / f"{kind}register_in4_syn.npz")
    network = REGISTERS[kind](FOUR)
    save_file(synthetic(network), tmp_path / "register.safetensors")
    load_upstream(network, tmp_path / "register.safetensors").double()
    names = ("moving", "fixed", "moving_canny_mag", "fixed_canny_mag")
    moving, fixed, *edges = (image.double() for image in tensors(reference, *names))
    given = network.velocity_of(torch.cat([moving, fixed, *edges], dim=1))
    assert_equals_the_authors(given, moving, reference)
    assert_equals_the_authors(network.velocity(moving, fixed), moving, reference)


def synthetic(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that the stored reference was computed with, drawn by the authors' name of each tensor."""
    drawn = {}
    names = upstream_names(network)
    for own, tensor in network.state_dict().items():
        normal = np.random.RandomState(zlib.crc32(names[own].encode())).standard_normal(tuple(tensor.shape))
        scale = np.sqrt(2 / np.prod(tensor.shape[1:])) if tensor.ndim > 1 else 0.01
        drawn[names[own]] = torch.from_numpy((normal * scale).astype(np.float32))
    return drawn


@pytest.mark.parametrize(("kind", "two", "four"), [("m", 202418, 202706), ("u", 100530, 101394)])
def test_they_have_the_authors_numbers_of_parameters(kind, two, four):
    assert count_parameters(REGISTERS[kind]()) == two
    assert count_parameters(REGISTERS[kind](FOUR)) == four


def test_multiply_adds_are_those_counted_by_hand():
    group = [k * k * (16 * (g + 1) * 16 + 32 * 16) + k * k * (2 * 16 * 16 + 32 * 16) / 4
             for g, k in enumerate((3, 5, 7))]  # fmt: skip
    micro = 9 * 2 * 16 + sum(group) + 3 * 9 * 48 * 16 + 9 * 48 * 2
    assert count_multiply_adds(ReCoNetMicroRegister(), 32, 48) == micro * 32 * 48


@torch.no_grad()
def test_an_untrained_register_moves_nothing_that_one_could_see():
    for register in REGISTERS.values():
        torch.manual_seed(0)
        assert register()(*images(1, 1, 32, 32)).abs().max() < 1e-2


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (45, 33)])
@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_any_size_is_filled_up_with_its_mirror_image(kind, size):
    network = strong(kind, FOUR)
    moving, fixed = images(1, 1, *size)
    got = network.velocity(moving, fixed)
    assert got.shape == (1, 2, *size)
    maps = torch.cat([moving, fixed, edge_magnitude(moving), edge_magnitude(fixed)], dim=1).numpy()
    below, right = (-side % 16 for side in size)
    filled = np.pad(maps, ((0, 0), (0, 0), (0, below), (0, right)), mode="reflect")
    if kind == "m":  # multiples of 2 are enough
        filled = filled[:, :, : size[0] + size[0] % 2, : size[1] + size[1] % 2]
    whole = network.velocity_of(torch.from_numpy(np.ascontiguousarray(filled)))
    torch.testing.assert_close(got, whole[..., : size[0], : size[1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_a_batch_gives_what_its_pairs_give_singly(kind):
    network = strong(kind, FOUR)
    moving, fixed = images(3, 1, 20, 37)
    singles = [network(m[None], f[None]) for m, f in zip(moving, fixed, strict=True)]
    torch.testing.assert_close(network(moving, fixed), torch.cat(singles), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_exported_and_symbolically_traced_they_serve_every_size(kind):
    network = strong(kind, ReCoNetRegisterSettings(inputs=4 if kind == "m" else 2, squarings=2))
    side = torch.export.Dim.DYNAMIC(min=17, max=1280)
    axes = {2: side, 3: side}
    exported = torch.export.export(network, tuple(images(1, 1, 48, 64)), dynamic_shapes=(axes, axes)).module()
    traced = torch.fx.symbolic_trace(network)
    for size in ((17, 19), (48, 64), (75, 40)):
        pair = images(1, 1, *size)
        expected = network(*pair)
        assert expected.abs().max() > 1  # pixels: the exported sampling is at work
        torch.testing.assert_close(exported(*pair), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(traced(*pair), expected, atol=1e-4, rtol=0)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.parametrize("kind", REGISTERS)
@torch.no_grad()
def test_openvino_finds_the_same_flow(shared, authors, kind):
    from fusion_ros.engines import EngineSettings, open_engine

    reference = arrays(shared / "reference" / f"reconet_{kind}register" / "digits_7_shifted.npz")
    pair = [reference[name][:, :, :27, :31] for name in ("moving", "fixed")]
    engine = open_engine(authors[kind], EngineSettings(name="openvino", threads=1))
    expected = authors[kind](*map(torch.from_numpy, pair)).numpy()
    np.testing.assert_allclose(engine(*pair), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


# --- Edges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["moving", "fixed"])
def test_edges_equal_the_authors_almost_everywhere(shared, name):
    reference = arrays(shared / "reference" / "reconet_v1" / "mregister_in4_syn.npz")
    edges = edge_magnitude(torch.from_numpy(reference[name])).numpy()
    equal = np.abs(edges - reference[f"{name}_canny_mag"]) < 1e-4
    assert equal.mean() > 0.999  # among equal neighbours the last bit decides which is the larger
    assert (edges > 0).mean() > 0.1


def test_where_there_is_an_edge_its_magnitude_is_that_of_opencvs_gradient():
    image = images(1, 1, 40, 50)[0]
    blurred = cv2.GaussianBlur(image[0, 0].numpy(), (5, 5), 1.0, borderType=cv2.BORDER_REFLECT_101)
    across = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    edges = edge_magnitude(image)[0, 0].numpy()
    found = edges > 0
    assert 0.1 < found.mean() < 0.5
    np.testing.assert_allclose(edges[found], np.hypot(across, down)[found], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("turns", range(4))
def test_a_step_is_one_edge_wherever_it_looks(turns):
    step = torch.zeros(1, 1, 32, 32)
    step[..., 16:] = 0.7
    edges = torch.rot90(edge_magnitude(torch.rot90(step, turns, (2, 3))), -turns, (2, 3))
    assert torch.equal((edges > 0).sum(-1), torch.ones(1, 1, 32, dtype=torch.long))
    assert (edges > 0)[..., 15:17].any(-1).all()  # on either side of the step


def test_a_flat_image_has_no_edge_not_even_at_its_border():
    assert edge_magnitude(torch.full((1, 1, 20, 24), 0.3)).count_nonzero() == 0
