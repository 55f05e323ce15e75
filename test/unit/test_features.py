"""Feature maps from network to pipeline: what a subscriber gets is what the network gives."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
import torch
from torch import nn

from fusion_ros.engines import EngineSettings, open_engine
from fusion_ros.errors import ImageError, SettingsError, WeightsError
from fusion_ros.features import FeatureExtractor
from fusion_ros.frame import Frame, FramePair
from fusion_ros.imaging import RangeSettings
from fusion_ros.networks import NETWORKS, FusionNetwork, InputRange, build_network
from fusion_ros.networks.tapped import Tapped
from fusion_ros.pipeline import FusionPipeline, FusionSettings, Mode, open_pipeline
from fusion_ros.settings import Settings
from fusion_ros.spec import FeatureMap, NetworkSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "rfvif": {"width": 8, "extraction_stages": 1},
    "lrrnet": {"channels": 6, "blocks": 1},
    "reconet": {"width": 4},
}
WITH_MAPS = [name for name in NETWORKS if build_network(name, SMALL.get(name)).feature_maps()]
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
ENGINES = ["torch", pytest.param("openvino", marks=needs_openvino)]
NANOSECONDS = 33_000_000


class Means(FusionNetwork):
    """Two maps that can be written down without it: means of 4 x 4 pixels, and both images side by side."""

    spec = NetworkSpec(name="means", title="Means", source="")
    Settings = Settings

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Conv2d(2, 2, 4, stride=4, bias=False)
        with torch.no_grad():
            self.pool.weight.copy_(torch.eye(2)[:, :, None, None].expand(2, 2, 4, 4) / 16)

    def forward(self, infrared, visible):
        return infrared + visible

    def feature_maps(self):
        return FeatureMap("mean", 2, 4, "Means."), FeatureMap("both", 2, 1, "Both images.")

    def features(self, infrared, visible):
        both = torch.cat([infrared, visible], dim=1)
        return {"mean": self.pool(both), "both": both}


def _extractor(network, layers=(), engine="torch", ranges=None):
    tapped = Tapped(network.eval(), layers)
    opened = open_engine(tapped, EngineSettings(name=engine, device="cpu", threads=1))
    return FeatureExtractor(opened, tapped.to("meta"), ranges)


def _images(height, width, seed=0):
    return np.random.default_rng(seed).random((2, height, width), np.float32)


def _in_range(image, wanted):
    """What a spec says of its inputs, written down again."""
    if wanted is InputRange.BYTE:
        return 255 * image
    low, high = image.min(), image.max()
    return (image - low) / (high - low + 1e-5 / 255) if wanted is InputRange.STRETCHED else image


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WITH_MAPS)
def test_every_network_gives_through_an_engine_the_maps_that_it_gives_itself(name, engine):
    torch.manual_seed(0)
    network = build_network(name, SMALL.get(name)).eval()
    images = _images(37, 46)
    given = [torch.from_numpy(_in_range(image, network.spec.input_range))[None, None] for image in images]
    with torch.no_grad():
        expected = {key: tensor[0].permute(1, 2, 0).numpy() for key, tensor in network.features(*given).items()}
    grids = _extractor(network, engine=engine)(*images, 0)
    described = {item.name: item for item in network.feature_maps()}
    assert list(grids) == list(described)
    for key, grid in grids.items():
        assert (grid.stride, grid.channels) == (described[key].stride, described[key].channels)
        assert grid.size == (37, 46)
        scale = max(1.0, np.abs(expected[key]).max())
        np.testing.assert_allclose(grid.values / scale, expected[key] / scale, atol=1e-4)


def test_the_five_published_methods_offer_maps():
    assert {"reconet", "reconet_fuser", "rfvif", "rfn_nest", "lrrnet", "didfuse"} <= set(WITH_MAPS)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_users_own_network_is_tapped_for_the_layers_asked_for_at_sizes_that_change(engine):
    extractor = _extractor(Means(), ["both", "mean"], engine)
    extractor.prepare(16, 24)
    for height, width in [(16, 24), (18, 27), (16, 24)]:
        infrared, visible = _images(height, width, seed=height)
        grids = extractor(infrared, visible, 0)
        assert list(grids) == ["both", "mean"]
        np.testing.assert_allclose(grids["both"].values, np.stack([infrared, visible], axis=2), atol=1e-6)
        whole = np.stack([infrared, visible], axis=2)[: height // 4 * 4, : width // 4 * 4]
        means = whole.reshape(height // 4, 4, width // 4, 4, 2).mean((1, 3))
        np.testing.assert_allclose(grids["mean"].values, means, atol=1e-6)
        assert grids["mean"].size == (height, width)


def test_what_a_frame_gave_stays_when_the_next_one_comes():
    extractor = _extractor(Means())
    first = extractor(*_images(16, 16, seed=1), 0)["both"]
    kept = first.values.copy()
    extractor(*_images(16, 16, seed=2), NANOSECONDS)
    np.testing.assert_array_equal(first.values, kept)


def test_layers_that_are_not_there_or_come_twice_are_refused():
    with pytest.raises(SettingsError, match="has no layer 'meen'; did you mean 'mean'"):
        Tapped(Means(), ["meen"])
    with pytest.raises(SettingsError, match="got 'mean' 2 times"):
        Tapped(Means(), ["mean", "both", "mean"])
    with pytest.raises(SettingsError, match="RFN for tracking offers no feature maps"):
        Tapped(build_network("rfn_tracking", {"channels": 2}))


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ImageError, match="one pixel grid"):
        _extractor(Means())(np.zeros((16, 16), np.float32), np.zeros((16, 20), np.float32), 0)


def test_the_range_of_a_network_that_stretches_follows_the_stream_until_it_is_reset():
    class Stretching(Means):
        spec = NetworkSpec(name="means", title="Means", source="", input_range=InputRange.STRETCHED)

    def seen(extractor, image, stamp_ns):
        values = extractor(image, image, stamp_ns)["both"].values
        return values.max() - values.min()

    extractor = _extractor(Stretching())
    full, dim = _images(16, 16)[0], _images(16, 16)[0] / 2
    assert seen(extractor, full, 0) == pytest.approx(1.0, abs=0.01)
    assert seen(extractor, dim, NANOSECONDS) < 0.6
    each_by_itself = extractor.reconfigured(RangeSettings(time_constant_s=0.0))
    assert seen(each_by_itself, full, 0) == pytest.approx(1.0, abs=0.01)
    assert seen(each_by_itself, dim, NANOSECONDS) == pytest.approx(1.0, abs=0.01)
    extractor.reset()
    assert seen(extractor, dim, 2 * NANOSECONDS) == pytest.approx(1.0, abs=0.01)


# The pipeline

RNG = np.random.default_rng(4)
RGB = Frame(RNG.integers(0, 256, (32, 48, 3), np.uint8), 100, "rgb_optical_frame", "rgb8")
THERMAL = Frame(RNG.integers(0, 256, (32, 48), np.uint8), 104, "thermal_optical_frame")
GREY = (RGB.pixels @ [0.299, 0.587, 0.114] / 255).astype(np.float32)


class Refusing:
    """An image engine that must not be run."""

    description = "refusing"
    spec = NetworkSpec(name="refusing", title="Refusing", source="")

    def __call__(self, infrared, visible):
        raise AssertionError("the image network was run")


def _pipeline(engine=None, **settings):
    values = {name.replace("__", "."): value for name, value in settings.items()}
    return FusionPipeline(engine, FusionSettings.from_mapping(values), features=_extractor(Means(), ["both"]))


def _both(pipeline, pair):
    result = pipeline(pair, with_image=False, with_features=True)
    assert result.image is None
    return result, result.features["both"].values


def test_features_are_of_both_luminances_and_need_no_image_network():
    result, both = _both(_pipeline(Refusing()), FramePair(RGB, THERMAL))
    assert result.mode is Mode.FUSED
    np.testing.assert_allclose(both[..., 0], THERMAL.pixels / np.float32(255), atol=1e-6)
    np.testing.assert_allclose(both[..., 1], GREY, atol=0.51 / 255)
    assert list(result.stage_ms)[-1] == "features"


def test_image_and_features_come_of_one_call():
    settings = FusionSettings.from_mapping({"model": "maximum", "output.color": False})
    pipeline = open_pipeline(settings)
    pipeline.features = _extractor(Means(), ["both"])
    result = pipeline(FramePair(RGB, THERMAL), with_features=True)
    np.testing.assert_allclose(result.image, np.rint(255 * result.features["both"].values.max(axis=2)), atol=1)


def test_features_see_the_reference_where_the_other_camera_sees_nothing():
    pipeline = _pipeline(alignment__mode="homography", alignment__homography=[1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    narrow = Frame(THERMAL.pixels[:, :24].copy(), 104)
    _, both = _both(pipeline, FramePair(RGB, narrow))
    np.testing.assert_allclose(both[:, 26:, 0], both[:, 26:, 1])
    np.testing.assert_allclose(both[:, :22, 0], narrow.pixels[:, :22] / np.float32(255), atol=1e-6)


def test_a_lone_frame_stands_for_both():
    for pair, expected in [(FramePair(RGB, None), GREY), (FramePair(None, THERMAL), THERMAL.pixels / 255)]:
        result, both = _both(_pipeline(), pair)
        assert result.mode in (Mode.RGB_ONLY, Mode.THERMAL_ONLY)
        for channel in (0, 1):
            np.testing.assert_allclose(both[..., channel], expected, atol=0.51 / 255)


def test_until_the_cameras_are_known_the_reference_stands_for_both():
    pipeline = _pipeline(
        alignment__mode="calibration",
        alignment__translation=(0.0, 0.0, 0.0),
        alignment__rotation=(0.0, 0.0, 0.0, 1.0),
    )
    result, both = _both(pipeline, FramePair(RGB, THERMAL))
    assert result.mode is Mode.UNALIGNED
    np.testing.assert_allclose(both[..., 0], both[..., 1])
    np.testing.assert_allclose(both[..., 1], GREY, atol=0.51 / 255)


def test_features_lie_on_the_scaled_output_grid():
    result, both = _both(_pipeline(output__scale=0.5), FramePair(RGB, THERMAL))
    assert result.size == result.features["both"].size == both.shape[:2] == (16, 24)


def test_what_is_not_offered_is_refused_by_the_name_of_its_setting():
    with pytest.raises(SettingsError, match=r"^model: expected a model, got none"):
        _pipeline()(FramePair(RGB, THERMAL))
    with pytest.raises(SettingsError, match=r"^features\.model: expected a model, got none"):
        FusionPipeline(Refusing())(FramePair(RGB, THERMAL), with_image=False, with_features=True)


def _opened(**settings):
    values = {"engine.name": "torch", "engine.device": "cpu", "engine.threads": 1}
    values |= {name.replace("__", "."): value for name, value in settings.items()}
    return open_pipeline(FusionSettings.from_mapping(values))


def test_settings_alone_open_features_without_an_image_and_those_of_the_fusion_model():
    alone = _opened(
        model="none", features__model="reconet", features__layers=" attention_visible,attention_infrared "
    )
    assert alone.engine is None
    assert "attention_visible, attention_infrared of reconet on torch" in alone.description
    result = alone(FramePair(RGB, THERMAL), with_image=False, with_features=True)
    assert list(result.features) == ["attention_visible", "attention_infrared"]
    same = _opened(model="reconet", network="recurrences=1", features__model="same")
    assert same.features.model == "reconet"
    assert len(same.features.weights_sha256) == 64
    assert same(FramePair(RGB, THERMAL), with_features=True).image is not None


def test_settings_of_the_fusion_network_hold_for_the_same_models_features_unless_they_are_given_again():
    def attention(**settings):
        chosen = {"features__model": "same", "features__layers": "attention_visible"} | settings
        pipeline = _opened(model="reconet", **chosen)
        result = pipeline(FramePair(RGB, THERMAL), with_image=False, with_features=True)
        return result.features["attention_visible"].values

    often, once = attention(), attention(network="recurrences=1")
    assert np.abs(often - once).max() > 1e-3
    np.testing.assert_array_equal(attention(network="recurrences=1", features__network="recurrences=3"), often)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"features__model": "average"}, SettingsError, r"features\.model: .* 'average' has none"),
        ({"features__model": "matching_register"}, SettingsError, r"features\.model: .* offers? none"),
        ({"features__model": "rfn_nst"}, WeightsError, r"features\.model: .*did you mean 'rfn_nest'"),
        ({"features__layers": "fused"}, SettingsError, r"set features\.model"),
        (
            {"features__model": "reconet", "features__layers": "atention_visible"},
            SettingsError,
            r"features\.layers: .*did you mean 'attention_visible'",
        ),
        (
            {"features__model": "reconet", "features__network": "recurrence=2"},
            SettingsError,
            r"features\.model: .*did you mean 'recurrences'",
        ),
        ({"network": "levels=3"}, SettingsError, "none has no settings, got 'levels=3'"),
    ],
)
def test_settings_that_cannot_hold_are_refused_when_the_pipeline_is_opened(settings, error, text):
    with pytest.raises(error, match=text):
        _opened(model="none", **settings)


def test_the_documentation_lists_the_layers_of_every_network(repository):
    page = (repository / "docs" / "features.md").read_text()
    rows = [row.split("|")[1:3] for row in page.partition("## All layers")[2].splitlines() if row.startswith("| ")]
    listed: dict[str, set[str]] = {}
    names: list[str] = []
    for networks, layers in rows[1:]:
        names = re.findall(r"`(\w+)`", networks) or names
        for name in names:
            listed.setdefault(name, set()).update(_spelt_out(layers))
    offered = {name: {item.name for item in build_network(name).feature_maps()} for name in WITH_MAPS}
    assert listed == offered


def _spelt_out(cell):
    """Return the layers of a table's cell; ``a_1`` to ``a_3`` stands for all between."""
    span = re.fullmatch(r"\s*`(\w+?)_(\d)` to `\1_(\d)`\s*", cell)
    if span is None:
        return set(re.findall(r"`(\w+)`", cell))
    return {f"{span[1]}_{number}" for number in range(int(span[2]), int(span[3]) + 1)}
