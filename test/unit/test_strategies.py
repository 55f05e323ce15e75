"""Hand-made fusion strategies against their formulas, written again in NumPy, position by position."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from fusion_ros.errors import EngineError
from fusion_ros.networks.didfuse import DIDFuse
from fusion_ros.networks.strategies import STRATEGIES
from fusion_ros.weights import load_upstream

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
WEIGHTED = ("l1_norm", "nuclear_norm", "spatial_channel_attention")
SHAPE = (2, 5, 6, 9)


def _features(kind: str, shape=SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    infrared, visible = (torch.randn(shape, generator=generator) * 20 for _ in range(2))
    return (infrared.relu(), visible.relu()) if kind == "rectified" else (infrared, visible)


def _blend(a: np.ndarray, b: np.ndarray, activity_a: float, activity_b: float) -> np.ndarray:
    return (activity_a * a + activity_b * b) / (activity_a + activity_b)


def _l1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    fused = np.empty_like(a)
    height, width = a.shape[2:]
    for n in range(len(a)):
        for y in range(height):
            for x in range(width):
                window = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
                norms = (np.abs(m[n, :, window[0], window[1]]).sum() for m in (a, b))
                fused[n, :, y, x] = _blend(a[n, :, y, x], b[n, :, y, x], *norms)
    return fused


def _nuclear(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    fused = np.empty_like(a)
    for n, c in np.ndindex(a.shape[:2]):
        norms = (np.linalg.norm(m[n, c], ord="nuc") for m in (a, b))
        fused[n, c] = _blend(a[n, c], b[n, c], *norms)
    return fused


def _attention(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    spatial, channel = np.empty_like(a), np.empty_like(a)
    for n, y, x in np.ndindex(a.shape[0], *a.shape[2:]):
        norms = (np.linalg.norm(m[n, :, y, x], ord=1) for m in (a, b))
        spatial[n, :, y, x] = _blend(a[n, :, y, x], b[n, :, y, x], *norms)
    for n, c in np.ndindex(a.shape[:2]):
        channel[n, c] = _blend(a[n, c], b[n, c], np.abs(a[n, c]).mean(), np.abs(b[n, c]).mean())
    return (spatial + channel) / 2


ORACLES = {
    "add": np.add,
    "max": np.maximum,
    "l1_norm": _l1,
    "nuclear_norm": _nuclear,
    "spatial_channel_attention": _attention,
}


@pytest.mark.parametrize("kind", ["rectified", "signed"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_strategy_equals_its_formula(name, kind):
    infrared, visible = _features(kind)
    expected = ORACLES[name](infrared.double().numpy(), visible.double().numpy())
    np.testing.assert_allclose(STRATEGIES[name](infrared, visible).numpy(), expected, atol=1e-4, rtol=1e-5)


def test_every_strategy_of_the_table_was_compared():
    assert STRATEGIES.keys() == ORACLES.keys()


@torch.no_grad()
def test_l1_norm_is_the_rule_of_didfuses_released_code(shared):
    network = load_upstream(DIDFuse(), shared / "weights" / "upstream" / "didfuse.safetensors")
    with np.load(shared / "reference" / "didfuse" / "odd_tno_05.npz") as reference:
        images = [torch.from_numpy(reference[name]) for name in ("ir_in", "vis_in")]
        expected = reference["out_l1_norm"]
    fused = network.fused_by(STRATEGIES["l1_norm"], *images)
    np.testing.assert_allclose(fused.numpy(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_order_of_the_sources_does_not_matter(name):
    infrared, visible = _features("signed")
    swapped = STRATEGIES[name](visible, infrared)
    torch.testing.assert_close(STRATEGIES[name](infrared, visible), swapped, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [*WEIGHTED, "max"])
def test_equal_features_come_back_unchanged(name):
    infrared, _ = _features("signed")
    torch.testing.assert_close(STRATEGIES[name](infrared, infrared), infrared, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_silent_source_gets_no_weight(name):
    infrared, _ = _features("rectified")
    silent = torch.zeros_like(infrared)
    torch.testing.assert_close(STRATEGIES[name](infrared, silent), infrared, atol=1e-4, rtol=1e-5)
    assert torch.equal(STRATEGIES[name](silent, silent), silent)


@pytest.mark.parametrize("name", STRATEGIES)
def test_weights_are_chosen_image_by_image(name):
    infrared, visible = _features("rectified")
    batch = STRATEGIES[name](infrared, visible)
    for n in range(len(batch)):
        single = STRATEGIES[name](infrared[n : n + 1], visible[n : n + 1])
        torch.testing.assert_close(batch[n : n + 1], single, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_type_is_kept_and_large_features_do_not_overflow(name, dtype):
    infrared, visible = (50 * features for features in _features("rectified", (1, 208, 4, 5)))  # up to 4,000
    infrared[..., 0] = visible[..., 0] = 0
    fused = STRATEGIES[name](infrared.to(dtype), visible.to(dtype))
    assert fused.dtype == dtype
    expected = STRATEGIES[name](infrared, visible)
    error = (fused.float() - expected).abs().max() / expected.max()
    assert error < 4 * torch.finfo(dtype).eps + 1e-6


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_map_of_one_position_is_fused(name):
    infrared, visible = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1), torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    expected = ORACLES[name](infrared.double().numpy(), visible.double().numpy())
    np.testing.assert_allclose(STRATEGIES[name](infrared, visible).numpy(), expected, rtol=1e-5)


class Applied(torch.nn.Module):
    """A strategy as a network, for what takes only networks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.strategy = STRATEGIES[name]

    def forward(self, infrared: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        return self.strategy(infrared, visible)


@pytest.mark.parametrize("name", STRATEGIES)
def test_one_export_serves_every_size(name):
    size = {2: torch.export.Dim("height", min=2, max=640), 3: torch.export.Dim("width", min=2, max=640)}
    exported = torch.export.export(Applied(name), _features("rectified"), dynamic_shapes=(size, size)).module()
    for height, width in ((2, 2), (7, 5), (16, 33)):
        pair = _features("rectified", (2, 5, height, width))
        torch.testing.assert_close(exported(*pair), STRATEGIES[name](*pair), atol=1e-5, rtol=1e-5)


@needs_openvino
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "nuclear_norm"])
def test_openvino_gives_what_torch_gives(name):
    from fusion_ros.engines.openvino_graph import openvino_graph
    from fusion_ros.engines.openvino_runtime import core

    pair = _features("rectified")
    graph = openvino_graph(Applied(name), SHAPE, SHAPE)
    compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = compiled([features.numpy() for features in pair])[0]
    np.testing.assert_allclose(given, STRATEGIES[name](*pair).numpy(), atol=1e-4, rtol=1e-5)


@needs_openvino
def test_openvino_refuses_the_nuclear_norm_by_name():
    from fusion_ros.engines.openvino_graph import openvino_graph

    with pytest.raises(EngineError, match=r"svdvals is not known .* set engine\.name to torch"):
        openvino_graph(Applied("nuclear_norm"), SHAPE, SHAPE)
