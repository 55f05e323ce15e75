"""RFN-Nest against what the authors' network gave with weights made by a rule from their names."""

from __future__ import annotations

import importlib.util
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import EngineError, SettingsError, WeightsError
from fusion_ros.networks import RFNNest, RFNNestSettings, count_multiply_adds, count_parameters
from fusion_ros.networks.rfn_nest import upsampled
from fusion_ros.networks.strategies import STRATEGIES
from fusion_ros.weights import load_upstream

TOLERANCE = 1e-4  # of a map's maximum
CHANNELS = (64, 112, 160, 208)
ENCODER = {"DB1_0": (16, 64), "DB2_0": (64, 112), "DB3_0": (112, 160), "DB4_0": (160, 208)}
DECODER = {
    "DB1_1": (176, 64), "DB2_1": (272, 112), "DB3_1": (368, 160),
    "DB1_2": (240, 64), "DB2_2": (384, 112), "DB1_3": (304, 64),
}  # fmt: skip
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def _auto_encoder_shapes() -> dict[str, tuple[int, ...]]:
    """The 22 convolutions of the authors' first file."""
    shapes = {"conv0": (16, 1, 1, 1), "conv_out": (1, 64, 1, 1)}
    for name, (inputs, outputs) in (ENCODER | DECODER).items():
        shapes[f"{name}.denseblock.0"] = (inputs // 2, inputs, 3, 3)
        shapes[f"{name}.denseblock.1"] = (outputs, inputs // 2, 1, 1)
    return shapes


def _fusion_shapes() -> dict[str, tuple[int, ...]]:
    """The 24 convolutions of their second file."""
    shapes = {}
    for number, c in enumerate(CHANNELS, start=1):
        for name, shape in {
            "conv_fusion": (c, 2 * c, 3, 3), "conv_ir": (c, c, 3, 3), "conv_vi": (c, c, 3, 3),
            "bottelblock.0": (c, 2 * c, 1, 1), "bottelblock.1": (c, c, 3, 3), "bottelblock.2": (c, c, 3, 3),
        }.items():  # fmt: skip
            shapes[f"fusion_block{number}.{name}"] = shape
    return shapes


def _synthetic(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Tensors under the authors' names, each drawn from a generator that its name seeds."""
    tensors = {}
    for name, shape in shapes.items():
        for key, size in ((f"{name}.conv2d.weight", shape), (f"{name}.conv2d.bias", shape[:1])):
            drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(size)
            scale = np.sqrt(2 / np.prod(size[1:])) if len(size) > 1 else 0.01
            tensors[key] = torch.from_numpy((drawn * scale).astype(np.float32))
    return tensors


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The two files joined, and the first one alone, as the authors name their tensors."""
    folder = tmp_path_factory.mktemp("rfn_nest")
    save_file(_synthetic(_auto_encoder_shapes() | _fusion_shapes()), folder / "joined.safetensors")
    save_file(_synthetic(_auto_encoder_shapes()), folder / "auto_encoder.safetensors")
    return folder


@pytest.fixture(scope="module")
def authors(released):
    return load_upstream(RFNNest(), released / "joined.safetensors")


def _with_strategy(released, name: str, **settings) -> RFNNest:
    network = RFNNest(RFNNestSettings(fusion=name, **settings))
    return load_upstream(network, released / "auto_encoder.safetensors")


def _images(height: int, width: int, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    infrared, visible = np.random.default_rng(height * 1000 + width).random((2, batch, 1, height, width)) * 255
    return torch.from_numpy(infrared).float(), torch.from_numpy(visible).float()


def _error(got, expected) -> float:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("pair", ["syn_64x64", "syn_75x93"])
@torch.no_grad()
def test_every_stage_equals_the_authors_network(shared, authors, pair):
    with np.load(shared / "reference" / "rfn_nest" / f"{pair}.npz") as arrays:
        reference = {name: arrays[name] for name in arrays.files}
    infrared, visible = torch.from_numpy(reference["ir_in"]), torch.from_numpy(reference["vis_in"])
    encoded = authors.encode(infrared)
    fused = authors.fuse(encoded, authors.encode(visible))
    assert _error(encoded[3], reference["en_ir_4"]) < TOLERANCE
    assert _error(fused[3], reference["fused_4"]) < TOLERANCE
    assert _error(fused[0][:, :8], reference["fused_1_first8"]) < TOLERANCE
    assert _error([features.mean() for features in fused], reference["fused_mean"]) < TOLERANCE
    assert _error(authors.decode(fused), reference["out"]) < TOLERANCE
    assert _error(authors(infrared, visible), reference["out"]) < TOLERANCE
    assert _error(authors.reconstruct(infrared), reference["recon_ir"]) < TOLERANCE


def test_it_has_the_published_number_of_parameters():
    network = RFNNest()
    assert count_parameters(network) == 7_524_249
    assert [count_parameters(rfn) for rfn in network.rfns] == [229_760, 703_136, 1_434_560, 2_424_032]
    assert count_parameters(RFNNest(RFNNestSettings(fusion="add"))) == 2_732_761


def test_multiply_adds_are_those_of_its_convolutions():
    pixels = {
        name: 4 ** -(int(name[2]) - 1) for name in ENCODER | DECODER
    }  # of a block's map, per pixel of the image
    blocks = sum(
        pixels[name] * (9 * inputs + outputs) * (inputs // 2)
        for times, table in ((2, ENCODER), (1, DECODER))
        for name, (inputs, outputs) in table.items()
        for _ in range(times)
    )
    fusions = sum(4**-scale * (9 * (2 + 1 + 1 + 1 + 1) + 2) * c * c for scale, c in enumerate(CHANNELS))
    assert count_multiply_adds(RFNNest(), 64, 48) == (2 * 16 + blocks + fusions + 64) * 64 * 48


@pytest.mark.parametrize("size", [(16, 16), (17, 31)])
@torch.no_grad()
def test_any_size_from_16_on_is_kept_and_a_batch_gives_what_its_images_give_singly(authors, size):
    infrared, visible = _images(*size, batch=2)
    fused = authors(infrared, visible)
    assert fused.shape == (2, 1, *size)
    for n in range(2):
        assert _error(fused[n : n + 1], authors(infrared[n : n + 1], visible[n : n + 1])) < 1e-5


@pytest.mark.parametrize("size", [(24, 32), (37, 23)])
@torch.no_grad()
def test_an_even_scene_has_neither_seam_nor_border(authors, size):
    fused = authors(torch.full((1, 1, *size), 90.0), torch.full((1, 1, *size), 140.0))
    assert fused.max() > 1
    assert (fused.max() - fused.min()) / fused.max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2)])
def test_a_map_one_short_is_continued_as_the_authors_do_by_reflection(size):
    coarse = torch.rand(2, 3, *size)
    for rows in (0, 1):
        for columns in (0, 1):
            fine = torch.empty(2, 3, 2 * size[0] + rows, 2 * size[1] + columns)
            doubled = torch.kron(coarse, torch.ones(2, 2))
            expected = F.pad(doubled, (0, columns, 0, rows), mode="reflect")
            assert torch.equal(upsampled(coarse, fine), expected)


@pytest.mark.parametrize("seed", range(6))
def test_a_fresh_network_can_learn_whatever_the_seed(seed):
    torch.manual_seed(seed)
    network = RFNNest(RFNNestSettings(fusion="add"))
    image, _ = _images(16, 16)
    reconstructed = network.reconstruct(image)
    (reconstructed - image).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


@torch.no_grad()
def test_the_order_of_the_sources_matters(authors):
    infrared, visible = _images(16, 16)
    assert _error(authors(infrared, visible), authors(visible, infrared)) > 0.01


@torch.no_grad()
def test_features_are_the_fused_maps_as_described(authors):
    infrared, visible = _images(19, 27)
    maps = authors.features(infrared, visible)
    described = authors.feature_maps()
    assert list(maps) == [item.name for item in described]
    for item, channels in zip(described, CHANNELS, strict=True):
        assert item.channels == channels
        assert maps[item.name].shape == (1, channels, 19 // item.stride, 27 // item.stride)
    assert torch.equal(authors.decode(tuple(maps.values())), authors(infrared, visible))


@pytest.mark.parametrize("name", STRATEGIES)
@torch.no_grad()
def test_a_hand_made_strategy_takes_the_place_of_the_rfns(released, name):
    network = _with_strategy(released, name)
    infrared, visible = _images(16, 19)
    pairs = zip(network.encode(infrared), network.encode(visible), strict=True)
    fused = network.decode(tuple(STRATEGIES[name](*pair) for pair in pairs))
    assert torch.equal(network(infrared, visible), fused)


def test_the_rfns_weights_are_refused_where_there_are_none(released):
    with pytest.raises(WeightsError, match="does not belong to RFNNest"):
        load_upstream(RFNNest(RFNNestSettings(fusion="max")), released / "joined.safetensors")


def test_an_unknown_strategy_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match="did you mean 'l1_norm'"):
        RFNNestSettings(fusion="l1_nrom")


@torch.no_grad()
def test_without_nest_connections_a_block_sees_its_left_neighbour_and_the_one_below():
    torch.manual_seed(1)
    network = RFNNest(RFNNestSettings(nest=False, fusion="max")).eval()
    block = {name: lambda *maps, b=module: b(torch.cat(maps, 1)) for name, module in network.decoder.items()}
    up = torch.nn.Upsample(scale_factor=2)
    f1, f2, f3, f4 = (torch.rand(1, c, 32 >> scale, 48 >> scale) for scale, c in enumerate(CHANNELS))
    d11, d21, d31 = block["11"](f1, up(f2)), block["21"](f2, up(f3)), block["31"](f3, up(f4))
    d12, d22 = block["12"](d11, up(d21)), block["22"](d21, up(d31))
    expected = torch.relu(network.output(block["13"](d12, up(d22))))
    assert torch.equal(network.decode((f1, f2, f3, f4)), expected)
    widths = ENCODER | {"11": (176, 64), "21": (272, 112), "31": (368, 160)}
    widths |= {"12": (176, 64), "22": (272, 112), "13": (176, 64)}
    blocks = sum((9 * i + 1) * (i // 2) + (i // 2 + 1) * o for i, o in widths.values())
    assert count_parameters(network) == 32 + blocks + 65


def _brightness_matched(infrared: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """A cheap fusion whose result at a pixel depends on all of the part that it is given."""
    return infrared + (visible - visible.mean()) * infrared.amax()


@pytest.mark.parametrize("size", [(17, 512), (512, 16)])
def test_quadrants_leave_an_image_of_up_to_512_pixels_alone(monkeypatch, size):
    network = RFNNest(RFNNestSettings(fusion="max", quadrants=True))
    monkeypatch.setattr(network, "_fuse_whole", _brightness_matched)
    assert torch.equal(network(*_images(*size)), _brightness_matched(*_images(*size)))


QUADRANTS = [
    ((33, 520), ((0, 19), (14, 33)), ((0, 263), (258, 520))),
    ((513, 36), ((0, 259), (254, 513)), ((0, 21), (16, 36))),
    ((600, 801), ((0, 303), (298, 600)), ((0, 403), (398, 801))),
    ((27, 514), ((0, 16), (11, 27)), ((0, 260), (255, 514))),
    ((26, 514), ((0, 26),), ((0, 260), (255, 514))),  # a part of 15 rows is too little for the network
]


def _quadrant_by_quadrant(fuse, infrared, visible, rows, columns) -> np.ndarray:
    total, parts = np.zeros(infrared.shape), np.zeros(infrared.shape)
    for top, bottom in rows:
        for left, right in columns:
            part = np.s_[:, :, top:bottom, left:right]
            total[part] += fuse(infrared[part].clone(), visible[part].clone()).numpy()
            parts[part] += 1
    return total / parts


@pytest.mark.parametrize(("size", "rows", "columns"), QUADRANTS)
def test_quadrants_are_fused_alone_and_averaged_where_they_overlap(monkeypatch, size, rows, columns):
    network = RFNNest(RFNNestSettings(fusion="max", quadrants=True))
    monkeypatch.setattr(network, "_fuse_whole", _brightness_matched)
    images = _images(*size, batch=2)
    expected = _quadrant_by_quadrant(_brightness_matched, *images, rows, columns)
    assert _error(network(*images), expected) < 1e-6
    assert _error(_brightness_matched(*images), expected) > 1e-4


@torch.no_grad()
def test_quadrants_go_through_the_whole_network(released):
    plain, split = (_with_strategy(released, "max", quadrants=on) for on in (False, True))
    size, rows, columns = QUADRANTS[0]
    images = _images(*size)
    assert _error(split(*images), _quadrant_by_quadrant(plain, *images, rows, columns)) < 1e-6


def _export(network, height: int, width: int, largest: int = 1280):
    size = {2: torch.export.Dim("height", min=16, max=largest), 3: torch.export.Dim("width", min=16, max=largest)}
    return torch.export.export(network, _images(height, width), dynamic_shapes=(size, size)).module()


@torch.no_grad()
def test_one_export_serves_every_size(authors):
    exported = _export(authors, 24, 32)
    for size in ((16, 16), (37, 23), (24, 41)):
        images = _images(*size)
        assert _error(exported(*images), authors(*images)) < TOLERANCE


@torch.no_grad()
def test_an_export_with_quadrants_is_limited_to_sizes_that_are_not_split(released):
    network = _with_strategy(released, "max", quadrants=True)
    images = _images(17, 29)
    assert _error(_export(network, 24, 32, largest=512)(*images), network(*images)) < TOLERANCE
    with pytest.raises(Exception, match="<= 512"):
        _export(network, 24, 32, largest=1280)


@torch.no_grad()
def test_it_can_be_read_symbolically(authors):
    images = _images(25, 30)
    assert torch.equal(torch.fx.symbolic_trace(authors)(*images), authors(*images))


@needs_openvino
@torch.no_grad()
def test_openvino_gives_what_torch_gives(authors):
    images = _images(37, 26)
    engine = open_engine(authors, EngineSettings(name="openvino", device="cpu", threads=1))
    assert _error(engine(*(image.numpy() for image in images)), authors(*images)) < TOLERANCE
    engine.close()


@needs_openvino
def test_openvino_refuses_quadrants_because_they_depend_on_the_size():
    images = (image.numpy() for image in _images(16, 16))
    network = RFNNest(RFNNestSettings(fusion="max", quadrants=True))
    with pytest.raises(EngineError, match=r"set engine\.name to torch"):
        open_engine(network, EngineSettings(name="openvino", device="cpu"))(*images)
