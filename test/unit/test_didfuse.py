"""DIDFuse against the authors' outputs, and the journal's fusion layer against its equations in NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fusion_ros.errors import EngineError, SettingsError
from fusion_ros.networks import DIDFuse, DIDFuseSettings, build_network
from fusion_ros.networks.didfuse_journal import (
    FusionLayer,
    HistogramContrast,
    SaliencyAttention,
    channel_attention,
    guided_filter,
    l1_attention,
    weighted_average,
)
from fusion_ros.weights import load_upstream

CROPS = ("odd_tno_05", "roadscene_FLIR_04602", "roadscene_FLIR_05005", "tno_01", "tno_05", "tno_16", "tno_30")
PUBLISHED = ("05", "08", "11", "16", "34", "36")
JOURNAL = ("l1_attention", "saliency_attention", "weighted_average")
RULES = [
    ("sum", False),
    ("average", False),
    ("l1", False),
    *((rule, on) for rule in JOURNAL for on in (False, True)),
]
DISTINCT = [("sum", False), ("l1_attention", True), ("saliency_attention", True), ("weighted_average", True)]


def _network(fusion="sum", channels=False, **settings):
    torch.manual_seed(0)
    network = DIDFuse(DIDFuseSettings(fusion=fusion, channel_attention=channels, **settings)).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.05, 0.2)  # enough contrast for the rules to differ
    return network


def _authors(shared, fusion="sum", channels=False):
    settings = DIDFuseSettings(fusion=fusion, channel_attention=channels)
    return load_upstream(DIDFuse(settings), shared / "weights" / "upstream" / "didfuse.safetensors")


def _reference(shared, crop):
    with np.load(shared / "reference" / "didfuse" / f"{crop}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def _sources(reference):
    return torch.from_numpy(reference["ir_in"]), torch.from_numpy(reference["vis_in"])


def _images(*shape, seed=0):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(seed)).unbind()


def _maps(*shape, seed=0):
    """Return two signed maps in float64, where no rounding to a grey level is a tie."""
    return torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).unbind()


# ---------------------------------------------------------------------------------- the authors' outputs


@pytest.mark.parametrize("crop", CROPS)
@torch.no_grad()
def test_output_equals_the_authors_network(shared, crop):
    reference = _reference(shared, crop)
    fused = _authors(shared)(*_sources(reference)).numpy()
    np.testing.assert_allclose(fused, reference["out_sum"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("average", "out_average"),
        ("l1", "out_l1_norm"),
        ("weighted_average", "out_average"),  # without channel attention, the journal's rule is the conference's
        ("l1_attention", "out_l1_norm"),
    ],
)
@torch.no_grad()
def test_other_rules_equal_the_authors(shared, rule, name):
    for crop in ("odd_tno_05", "intermediates_24x24"):
        reference = _reference(shared, crop)
        fused = _authors(shared, rule)(*_sources(reference)).numpy()
        np.testing.assert_allclose(fused, reference[name], atol=1e-5, rtol=0, err_msg=crop)


@torch.no_grad()
def test_every_map_of_the_encoder_equals_the_authors(shared):
    reference = _reference(shared, "intermediates_24x24")
    network = _authors(shared)
    for prefix, image in zip(("ir", "vis"), _sources(reference), strict=True):
        for name, tensor in network.encode(image)._asdict().items():
            np.testing.assert_allclose(tensor.numpy(), reference[f"{prefix}_{name}"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_reconstructions_equal_the_authors(shared):
    network = _authors(shared)
    for crop in ("odd_tno_05", "intermediates_24x24"):
        reference = _reference(shared, crop)
        for name, image in zip(("recon_ir", "recon_vis"), _sources(reference), strict=True):
            np.testing.assert_allclose(network.reconstruct(image).numpy(), reference[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("number", PUBLISHED)
@torch.no_grad()
def test_grey_levels_are_those_of_the_published_images(shared, number):
    paths = [shared / "data" / "tno" / kind / f"{number}.png" for kind in ("ir", "vis")]
    infrared, visible = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths)
    published = cv2.imread(str(shared / "reference" / "didfuse_tno" / f"{number}.png"), cv2.IMREAD_GRAYSCALE)
    images = (torch.from_numpy(image)[None, None] / 255.0 for image in (infrared, visible))
    levels = np.rint(_authors(shared)(*images)[0, 0].numpy() * 255)
    assert np.abs(levels - published).max() <= 1


@torch.no_grad()
def test_features_are_base_and_detail_of_both_images_and_of_the_fused_one(shared):
    reference = _reference(shared, "intermediates_24x24")
    network = _authors(shared, "average")
    features = network.features(*_sources(reference))
    assert list(features) == [feature.name for feature in network.feature_maps()]
    for part in ("base", "detail"):
        pair = reference[f"ir_{part}"], reference[f"vis_{part}"]
        np.testing.assert_allclose(features[f"{part}_infrared"].numpy(), pair[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(features[f"{part}_visible"].numpy(), pair[1], atol=1e-5, rtol=0)
        np.testing.assert_allclose(features[part].numpy(), (pair[0] + pair[1]) / 2, atol=1e-5, rtol=0)


def test_it_has_the_papers_number_of_parameters():
    network = DIDFuse()
    assert sum(parameter.numel() for parameter in network.parameters()) == 260_935
    assert sum(parameter.numel() for parameter in network.encoder.parameters()) == 111_938


# ------------------------------------------------------------------------------------ every fusion rule


@pytest.mark.parametrize(("rule", "channels"), RULES)
@torch.no_grad()
def test_any_size_and_batch_is_kept_and_each_pair_is_fused_by_itself(rule, channels):
    network = _network(rule, channels)
    for size in ((16, 16), (17, 21)):
        images = _images(2, 1, *size)
        fused = network(*images)
        assert fused.shape == (2, 1, *size)
        assert 0 <= fused.min() and fused.max() <= 1
        second = network(*(image[1:] for image in images))
        torch.testing.assert_close(fused[1:], second, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rule", "channels"), RULES)
@torch.no_grad()
def test_no_rule_prefers_a_source(rule, channels):
    network = _network(rule, channels)
    infrared, visible = _images(1, 1, 16, 21)
    torch.testing.assert_close(network(infrared, visible), network(visible, infrared), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rule", "channels"), [rule for rule in RULES if rule[0] != "sum"])
@torch.no_grad()
def test_an_image_fused_with_itself_is_its_reconstruction(rule, channels):
    network = _network(rule, channels)
    image, _ = _images(1, 1, 16, 21)
    torch.testing.assert_close(network(image, image), network.reconstruct(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rule", "channels"), RULES)
@torch.no_grad()
def test_flat_images_give_numbers(rule, channels):
    fused = _network(rule, channels)(torch.zeros(1, 1, 20, 20), torch.ones(1, 1, 20, 20))
    assert torch.isfinite(fused).all()


@torch.no_grad()
def test_a_strategy_from_outside_fuses_all_four_maps():
    network = _network("l1")
    images = _images(1, 1, 20, 23)
    shapes = []

    def infrared_only(infrared, visible):
        shapes.append(tuple(visible.shape))
        return infrared

    torch.testing.assert_close(network.fused_by(infrared_only, *images), network.reconstruct(images[0]))
    assert shapes == [(1, 64, 20, 23)] * 4
    torch.testing.assert_close(network.fused_by(torch.add, *images), _network("sum")(*images))


@torch.no_grad()
def test_the_network_fuses_by_the_layer_that_its_settings_describe():
    images = _images(1, 1, 16, 21)
    network = _network("saliency_attention", True, guided_radius=3, guided_epsilon=0.1)
    layer = FusionLayer(SaliencyAttention(radius=3, epsilon=0.1), with_channels=True)
    torch.testing.assert_close(network(*images), network.fused_by(layer, *images))

    averaged = _network("saliency_attention", True, guided_radius=3, guided_epsilon=0.1, skips="average")
    infrared, visible = (network.encode(image) for image in images)
    fused = averaged.fuse(infrared, visible)
    torch.testing.assert_close(fused.f1, (infrared.f1 + visible.f1) / 2)
    torch.testing.assert_close(fused.f2, (infrared.f2 + visible.f2) / 2)
    torch.testing.assert_close(fused.base, layer(infrared.base, visible.base))
    torch.testing.assert_close(fused.detail, layer(infrared.detail, visible.detail))


# ---------------------------------------------------------------------------------- the journal's equations


def _box_sum(image, radius):
    padded = np.pad(image, radius)
    rows, columns = image.shape
    return sum(padded[y : y + rows, x : x + columns] for y in range(2 * radius + 1) for x in range(2 * radius + 1))


def _numpy_contrast(levels):
    """Return equation (9) as it is written, for one map: every level against every bin of the histogram."""
    histogram = np.bincount(levels.ravel().astype(int), minlength=256) / levels.size
    return sum(histogram[k] * np.abs(levels - k) for k in range(256)) / 255


def _numpy_guided_filter(target, guide, radius, epsilon):
    """Fit a line in every window by regularised least squares; average what all windows say of a pixel."""
    total, windows = np.zeros_like(target), np.zeros_like(target)
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            inside = (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
            g, t = guide[inside].ravel(), target[inside].ravel()
            rows = np.vstack([np.column_stack([g, np.ones_like(g)]), [np.sqrt(g.size * epsilon), 0.0]])
            slope, offset = np.linalg.lstsq(rows, np.append(t, 0.0), rcond=None)[0]
            total[inside] += slope * guide[inside] + offset
            windows[inside] += 1
    return total / windows


def _numpy_saliency_weight(infrared, visible, radius, epsilon):
    """Return equations (9) to (11) for one channel."""
    low, high = min(infrared.min(), visible.min()), max(infrared.max(), visible.max())
    guides = [(source - low) / (high - low) for source in (infrared, visible)]
    contrast = [_numpy_contrast(np.rint(guide * 255)) for guide in guides]
    raw = contrast[0] / (contrast[0] + contrast[1])
    clean = [
        np.maximum(_numpy_guided_filter(weight, guide, radius, epsilon), 0)
        for weight, guide in zip((raw, 1 - raw), guides, strict=True)
    ]
    return clean[0] / (clean[0] + clean[1])


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 7)])
def test_histogram_contrast_is_the_mean_distance_to_all_pixels(size):
    levels = np.random.default_rng(1).integers(0, 256, (2, 3, *size)).astype(np.float32)
    levels[1, 0] = 77  # a map of one level has no contrast
    expected = (
        np.abs(levels.reshape(2, 3, -1, 1) - levels.reshape(2, 3, 1, -1)).mean(3).reshape(levels.shape) / 255
    )
    got = HistogramContrast()(torch.from_numpy(levels)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(_numpy_contrast(levels[0, 0]), expected[0, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-4), (2, 0.01), (7, 0.5)])
def test_guided_filter_is_least_squares_in_every_window(radius, epsilon):
    target, guide = (plane.abs() for plane in _maps(1, 2, 9, 12))
    got = guided_filter(target, guide, radius, epsilon).numpy()
    for channel in range(2):
        planes = target[0, channel].numpy(), guide[0, channel].numpy()
        np.testing.assert_allclose(
            got[0, channel], _numpy_guided_filter(*planes, radius, epsilon), atol=1e-9, rtol=0
        )


def test_saliency_attention_is_equations_9_to_12():
    infrared, visible = _maps(1, 2, 12, 10)
    visible[0, 1] *= 0.2  # one channel in which the infrared map stands out
    attention = SaliencyAttention(radius=2, epsilon=0.01).double()
    weight, fused = attention.weight(infrared, visible).numpy(), attention(infrared, visible).numpy()
    assert weight[0, 1].mean() > 0.6
    for channel in range(2):
        planes = infrared[0, channel].numpy(), visible[0, channel].numpy()
        expected = _numpy_saliency_weight(*planes, 2, 0.01)
        np.testing.assert_allclose(weight[0, channel], expected, atol=1e-6, rtol=0)
        blend = expected * planes[0] + (1 - expected) * planes[1]
        np.testing.assert_allclose(fused[0, channel], blend, atol=1e-5, rtol=0)


def test_a_guided_filter_that_overshoots_gives_no_negative_weight():
    infrared, visible = torch.full((1, 1, 14, 14), 0.3, dtype=torch.float64), torch.zeros(1, 1, 14, 14).double()
    block = (..., slice(9), slice(9))  # weights near 1 at 0 and near 0 at 0.3: the line is below 0 at 1
    infrared[block][..., ::2] = 0.0
    visible[block] = (infrared[block] > 0).double()
    infrared[..., 4, 5] = 1.0
    weight = SaliencyAttention(radius=4, epsilon=0.001).double().weight(infrared, visible).numpy()[0, 0]
    expected = _numpy_saliency_weight(infrared.numpy()[0, 0], visible.numpy()[0, 0], 4, 0.001)
    np.testing.assert_allclose(weight, expected, atol=1e-6, rtol=0)
    assert weight[4, 5] == 0


def test_l1_attention_is_equations_7_and_8():
    infrared, visible = _maps(1, 5, 8, 9)
    activity = [_box_sum(np.abs(source[0].numpy()).sum(0), 1) for source in (infrared, visible)]
    weight = activity[0] / (activity[0] + activity[1])
    expected = weight * infrared.numpy() + (1 - weight) * visible.numpy()
    np.testing.assert_allclose(l1_attention(infrared, visible).numpy(), expected, atol=1e-12, rtol=0)


def test_channel_attention_is_equations_14_to_16():
    infrared, visible = _maps(2, 5, 8, 9)
    activity = [np.abs(source.numpy()).mean((2, 3), keepdims=True) for source in (infrared, visible)]
    weight = activity[0] / (activity[0] + activity[1])
    expected = weight * infrared.numpy() + (1 - weight) * visible.numpy()
    np.testing.assert_allclose(channel_attention(infrared, visible).numpy(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("spatial", [l1_attention, weighted_average, SaliencyAttention(2, 0.01).double()])
def test_the_layer_is_the_mean_of_both_attentions(spatial):
    infrared, visible = _maps(1, 3, 8, 9)
    alone, both = (FusionLayer(spatial, with_channels)(infrared, visible) for with_channels in (False, True))
    torch.testing.assert_close(alone, spatial(infrared, visible))
    torch.testing.assert_close(both, (spatial(infrared, visible) + channel_attention(infrared, visible)) / 2)


def test_where_both_sources_say_nothing_the_weight_is_one_half():
    infrared, visible = (source.abs() + 1 for source in _maps(1, 2, 9, 9))
    for source in (infrared, visible):
        source[..., :5, :] = 0.0  # the l1 norm and its 3x3 mean are 0 in rows 0 to 3
    fused = l1_attention(infrared, visible)
    assert torch.equal(fused[..., :5, :], torch.zeros(1, 2, 5, 9, dtype=fused.dtype))
    assert (fused[..., 5:, :] >= 1).all()
    assert torch.equal(channel_attention(infrared * 0, visible * 0), infrared * 0)
    flat = torch.full((1, 2, 9, 9), 0.25)
    torch.testing.assert_close(SaliencyAttention(2, 0.01).weight(flat, flat), torch.full((1, 2, 9, 9), 0.5))


# ------------------------------------------------------------------------------- settings and other forms


@pytest.mark.parametrize("rule", ["sum", "average", "l1"])
def test_channel_attention_is_refused_without_a_rule_of_the_journal(rule):
    with pytest.raises(SettingsError, match=f"channel_attention: .*fusion '{rule}'.*saliency_attention"):
        build_network("didfuse", {"fusion": rule, "channel_attention": True})


def test_settings_outside_their_choices_are_refused():
    with pytest.raises(SettingsError, match="did you mean 'saliency_attention'"):
        build_network("didfuse", {"fusion": "saliency_atention"})
    with pytest.raises(SettingsError, match="guided_radius: expected 1 to 255 px, got 0"):
        build_network("didfuse", {"guided_radius": 0})
    assert build_network("didfuse").settings == DIDFuseSettings(fusion="sum", channel_attention=False)


@pytest.mark.parametrize(("rule", "channels"), RULES)
def test_no_rule_adds_weights(rule, channels):
    assert _network(rule, channels).state_dict().keys() == DIDFuse().state_dict().keys()


@pytest.mark.parametrize(("rule", "channels"), DISTINCT)
@torch.no_grad()
def test_an_exported_network_takes_any_size(rule, channels):
    network = _network(rule, channels)
    sides = {2: torch.export.Dim("height", min=16, max=1024), 3: torch.export.Dim("width", min=16, max=1280)}
    exported = torch.export.export(network, _images(1, 1, 20, 24), dynamic_shapes=(sides, sides)).module()
    for size in ((16, 16), (37, 29), (24, 48)):
        images = _images(1, 1, *size, seed=1)
        torch.testing.assert_close(exported(*images), network(*images), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("rule", "channels"), DISTINCT)
@torch.no_grad()
def test_the_openvino_engine_gives_the_same(rule, channels):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from fusion_ros.engines import EngineSettings, open_engine

    network = _network(rule, channels)
    engine = open_engine(network, EngineSettings(name="openvino", device="cpu", threads=1))
    for size in ((16, 16), (23, 37)):
        images = _images(1, 1, *size, seed=2)
        fused = engine(*(image.numpy() for image in images))
        np.testing.assert_allclose(fused, network(*images).numpy(), atol=1e-4, rtol=0)
    engine.close()


@torch.no_grad()
def test_grey_levels_survive_half_precision():
    pytest.importorskip("openvino", reason="openvino is not installed")
    from fusion_ros.engines import EngineSettings, open_engine

    network = _network("saliency_attention")
    try:
        engine = open_engine(network, EngineSettings(name="openvino", device="cpu", precision="bfloat16"))
    except EngineError as error:
        pytest.skip(str(error))
    images = _images(1, 1, 23, 37, seed=2)
    fused = engine(*(image.numpy() for image in images))
    np.testing.assert_allclose(fused, network(*images).numpy(), atol=5e-2, rtol=0)
    engine.close()


@pytest.mark.parametrize(("rule", "channels"), DISTINCT)
@torch.no_grad()
def test_its_computation_can_be_read_without_running_it(rule, channels):
    network = _network(rule, channels)
    images = _images(1, 1, 17, 33)
    torch.testing.assert_close(torch.fx.symbolic_trace(network)(*images), network(*images))
