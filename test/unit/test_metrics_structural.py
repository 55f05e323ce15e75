"""SSIM, MS-SSIM and VIF against reference values, published tables, other code and what must hold of them."""

from __future__ import annotations

import math
import sys
import warnings

import cv2
import numpy as np
import pytest
from metric_cases import ORACLE_IMAGES, cartoon, grey, noise, oracle, tno
from skimage.metrics import structural_similarity

from fusion_ros.errors import SettingsError
from fusion_ros.metrics import METRICS, Triple, evaluate, select_columns
from tools.straightforward import structural as plain

VARIANTS = [f"{name}:{variant.name}" for name in ("SSIM", "MS-SSIM", "VIF") for variant in METRICS[name].variants]
WAVELET = [key for key in VARIANTS if "wavelet" in key]
PIXEL = [key for key in VARIANTS if "wavelet" not in key]
SYMMETRIC = ["SSIM:sum_valid", "SSIM:mean_replicate", "MS-SSIM:mef_3scale", "MS-SSIM:mef_scale1", "VIF:viff_han",
             "VIF:vifp_sum", "VIF:wavelet_01_mean", "VIF:wavelet_255_mean"]  # fmt: skip
SMALLEST = {"SSIM:sum_valid": 11, "SSIM:mean_replicate": 2, "MS-SSIM:mef_3scale": 44, "MS-SSIM:mef_scale1": 11,
            "VIF:viff_han": 41, "VIF:vifp_sum": 41, "VIF:wavelet_01_mean": 72}  # fmt: skip


def values(keys, images):
    """Return metrics with every warning an error; skips where a package is absent that one of them needs."""
    columns = select_columns(keys)
    for column in columns:
        if column.variant.requires:
            pytest.importorskip(column.variant.requires, reason=f"{column.key} needs {column.variant.requires}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return evaluate(*images, columns)


def value(key, *images):
    return values([key], images)[key]


def scene(height, width, seed=0):
    """Return three related images that are smooth here and rough there, as real ones are."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (3, height // 8 + 2, width // 8 + 2))
    smooth = np.stack([cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in coarse])
    smooth += rng.normal(0, 12, (3, height, width)) * (np.arange(width) > width // 2)
    infrared, visible, own = np.clip(smooth, 0, 255)
    fused = 0.4 * infrared + 0.5 * visible + 0.1 * own
    return [np.rint(image).astype(np.uint8) for image in (infrared, visible, fused)]


@pytest.mark.parametrize("keys", [PIXEL, WAVELET], ids=["pixel", "wavelet"])
@pytest.mark.parametrize("image", ORACLE_IMAGES)
def test_every_variant_equals_the_reference_implementation(shared, image, keys):
    stored = oracle(shared, image)
    # The wavelet variants stand there under the name that one paper gave them.
    expected = [stored[key.replace("VIF:wavelet", "VIFm:wavelet")] for key in keys]
    assert list(values(keys, tno(shared, image)).values()) == pytest.approx(expected, rel=1e-6)


def test_ms_ssim_gives_the_published_mean_on_the_published_images_of_rfn_nest(shared):
    folders = [shared / "data" / name for name in ("tno21/ir", "tno21/vis", "reference/rfn_nest_tno21")]
    names = [f"{number:02d}.png" for number in range(1, 22)]
    scores = [value("MS-SSIM:mef_3scale", *(grey(folder / name) for folder in folders)) for name in names]
    assert np.mean(scores) == pytest.approx(0.91456, abs=5e-6)


@pytest.mark.parametrize("size", [(45, 61), (46, 60), (97, 83), (144, 200), (47, 700)])
@pytest.mark.parametrize(
    ("key", "truth"),
    [
        ("SSIM:sum_valid", plain.ssim_sum_valid),
        ("SSIM:mean_replicate", plain.ssim_mean_replicate),
        ("MS-SSIM:mef_3scale", plain.ms_ssim_mef),
        ("MS-SSIM:mef_scale1", plain.ms_ssim_mef_scale1),
        ("VIF:viff_han", plain.vif_viff_han),
        ("VIF:vifp_sum", plain.vif_vifp_sum),
    ],
)
def test_every_size_of_image_gives_what_the_definition_says(key, truth, size):
    infrared, visible, _ = noise(size, seed=1)
    for images in (
        scene(*size),
        (infrared, visible, cv2.addWeighted(infrared, 0.5, visible, 0.5, 0)),
        cartoon(size),
    ):
        assert value(key, *images) == pytest.approx(truth(*images), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("size", [(72, 75), (91, 120), (133, 106)])
def test_the_wavelet_variants_give_what_the_definition_says_at_every_size(size):
    images = scene(*size)
    assert value("VIF:wavelet_01_mean", *images) == pytest.approx(plain.vif_wavelet_mean(*images), rel=1e-7)
    expected = plain.vif_wavelet_mean(*images, largest=255.0)
    assert value("VIF:wavelet_255_mean", *images) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("size", [(11, 11), (16, 23), (80, 65), (240, 320)])
def test_ssim_is_that_of_scikit_image(size):
    infrared, visible, fused = noise(size, seed=2)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    expected = [structural_similarity(source, fused, **options) for source in (infrared, visible)]
    assert value("SSIM:valid_ir", infrared, visible, fused) == pytest.approx(expected[0], abs=1e-12)
    assert value("SSIM:valid_vis", infrared, visible, fused) == pytest.approx(expected[1], abs=1e-12)
    assert value("SSIM:sum_valid", infrared, visible, fused) == pytest.approx(sum(expected), abs=1e-12)


@pytest.mark.parametrize("key", SYMMETRIC)
def test_the_order_of_the_sources_does_not_matter(key):
    infrared, visible, fused = scene(90, 110)
    assert value(key, infrared, visible, fused) == pytest.approx(value(key, visible, infrared, fused), rel=1e-9)


@pytest.mark.parametrize("kind", ["SSIM:valid_", "VIF:vifp_", "VIF:wavelet_01_"])
def test_the_terms_of_the_two_sources_are_named_after_them(kind):
    infrared, visible, fused = scene(90, 110)
    swapped = value(f"{kind}vis", visible, infrared, fused)
    assert value(f"{kind}ir", infrared, visible, fused) == swapped
    assert value(f"{kind}ir", infrared, visible, infrared) > value(f"{kind}ir", infrared, visible, visible)


@pytest.mark.parametrize(
    ("key", "perfect"),
    [("SSIM:sum_valid", 2), ("SSIM:mean_replicate", 1), ("MS-SSIM:mef_3scale", 1), ("MS-SSIM:mef_scale1", 1),
     ("VIF:viff_han", 1), ("VIF:vifp_sum", 2), ("VIF:wavelet_01_mean", 1), ("VIF:wavelet_255_mean", 1)],
)  # fmt: skip
def test_three_equal_images_are_perfect_and_noise_makes_them_worse(key, perfect):
    image = scene(90, 110)[0]
    noisy = np.clip(image + np.random.default_rng(3).normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    assert value(key, image, image, image) == pytest.approx(perfect, abs=1e-6)
    assert value(key, image, image, noisy) < perfect - 0.02


@pytest.mark.parametrize("level", [0, 77, 255])
@pytest.mark.parametrize(
    ("key", "expected"),
    [("SSIM:sum_valid", 2), ("SSIM:mean_replicate", 1), ("MS-SSIM:mef_3scale", 1), ("MS-SSIM:mef_scale1", 1),
     ("VIF:viff_han", 1), ("VIF:vifp_ir", math.nan), ("VIF:vifp_vis", math.nan), ("VIF:vifp_sum", math.nan),
     ("VIF:wavelet_01_mean", math.nan), ("VIF:wavelet_255_mean", math.nan)],
)  # fmt: skip
def test_flat_images_are_perfect_or_said_to_be_undefined(key, expected, level):
    flat = np.full((80, 90), level, np.uint8)
    assert value(key, flat, flat, flat) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("key", VARIANTS)
@pytest.mark.parametrize("flat", [0, 1, 2])
def test_one_flat_image_gives_a_value_within_the_range_or_none(key, flat):
    images = scene(80, 90)
    images[flat] = np.full((80, 90), 255, np.uint8)
    (column,) = select_columns(key)
    low, high = column.variant.range
    result = value(key, *images)
    assert math.isnan(result) or low <= result <= high


def test_nothing_of_the_sources_is_seen_in_a_flat_fused_image():
    infrared, visible, _ = scene(80, 90)
    flat = np.full((80, 90), 90, np.uint8)
    assert value("VIF:vifp_sum", infrared, visible, flat) == 0.0
    assert value("VIF:viff_han", infrared, visible, flat) == pytest.approx(0.0, abs=1e-4)
    assert value("VIF:wavelet_01_mean", infrared, visible, flat) == 0.0


def test_vif_with_a_flat_source_is_undefined_for_that_source_only():
    infrared, _, fused = scene(80, 90)
    flat = np.full((80, 90), 255, np.uint8)
    assert math.isnan(value("VIF:vifp_vis", infrared, flat, fused))
    assert math.isnan(value("VIF:vifp_sum", infrared, flat, fused))
    assert value("VIF:vifp_ir", infrared, flat, fused) > 0.0


def test_stripes_have_a_wavelet_fidelity_although_their_covariance_has_no_inverse():
    row = scene(80, 90)[0][0]
    striped = np.repeat(row[None], 80, axis=0)
    assert value("VIF:wavelet_255_mean", striped, striped, striped) == pytest.approx(1.0, abs=1e-6)
    faint = np.rint(128 + (striped.astype(float) - 128) / 2).astype(np.uint8)
    assert 0.0 < value("VIF:wavelet_255_mean", striped, striped, faint) < 1.0


def test_ms_ssim_wishes_for_nothing_where_the_sources_are_opposite():
    infrared = scene(80, 90)[0]
    flat = np.full((80, 90), 90, np.uint8)
    assert value("MS-SSIM:mef_scale1", infrared, 255 - infrared, flat) == pytest.approx(1.0)
    assert value("MS-SSIM:mef_scale1", infrared, 255 - infrared, infrared) < 0.9


def test_ms_ssim_of_a_negative_is_below_zero_and_over_several_scales_undefined():
    image = scene(80, 90)[0]
    assert -1.0 <= value("MS-SSIM:mef_scale1", image, image, 255 - image) < 0.0
    assert math.isnan(value("MS-SSIM:mef_3scale", image, image, 255 - image))


@pytest.mark.parametrize("key", SMALLEST)
def test_images_too_small_for_a_definition_give_nan(key):
    smallest = SMALLEST[key]
    assert math.isfinite(value(key, *scene(smallest, smallest + 3)))
    assert math.isfinite(value(key, *scene(smallest + 3, smallest)))
    for size in ((smallest - 1, 99), (99, smallest - 1), (2, 2)):
        if 2 <= min(size) < smallest:
            assert math.isnan(value(key, *scene(*size)))


def test_the_images_are_left_as_they_are():
    images = scene(80, 90)
    before = [image.copy() for image in images]
    for image in images:
        image.flags.writeable = False
    values(PIXEL, images)
    assert all(np.array_equal(image, copy) for image, copy in zip(images, before, strict=True))


def test_columns_of_a_strided_image_are_read_right():
    wide = [np.repeat(image, 2, axis=1) for image in scene(60, 70)]
    views = [image[:, ::2] for image in wide]
    assert values(PIXEL, views) == values(PIXEL, [view.copy() for view in views])


def test_without_pyrtools_the_wavelet_variants_say_what_to_install(monkeypatch):
    for module in ("pyrtools", "pyrtools.pyramids"):
        monkeypatch.setitem(sys.modules, module, None)
    (column,) = select_columns("VIF:wavelet_01_mean")
    with pytest.raises(SettingsError, match="pip install pyrtools"):
        column.variant.function(Triple(*scene(80, 90)))
