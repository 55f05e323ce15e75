"""The methods without weights against direct computations, and at the edges: flat, tiny and equal images."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from fusion_ros.classical import (
    CLASSICAL,
    GuidedFilterSettings,
    LaplacianSettings,
    average,
    guided_filter,
    guided_filter_fusion,
    laplacian,
    maximum,
    pca,
)
from fusion_ros.engines.classical_engine import ClassicalEngine
from fusion_ros.errors import EngineError, ImageError, SettingsError

SIZES = [(1, 1), (1, 2), (1, 9), (9, 1), (2, 3), (17, 33)]

every_method = pytest.mark.parametrize("method", CLASSICAL.values(), ids=CLASSICAL)


def _images(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    infrared, visible = np.random.default_rng(seed).random((2, height, width), np.float32)
    return infrared, visible


# --- each method against its definition ---


def test_average_and_maximum_are_what_they_are_called():
    infrared = np.array([[0.0, 0.2, 1.0], [0.5, 0.9, 0.4]], np.float32)
    visible = np.array([[1.0, 0.4, 1.0], [0.1, 0.3, 0.4]], np.float32)
    assert average(infrared, visible) == pytest.approx(np.array([[0.5, 0.3, 1.0], [0.3, 0.6, 0.4]]))
    assert np.array_equal(maximum(infrared, visible), np.float32([[1.0, 0.4, 1.0], [0.5, 0.9, 0.4]]))


def _pca_by_eigh(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    covariance = np.cov(np.float64([infrared.ravel(), visible.ravel()]))
    component = np.abs(np.linalg.eigh(covariance)[1][:, 1])  # eigenvalues come in ascending order
    weights = component / component.sum()
    return weights[0] * infrared + weights[1] * visible


def test_pca_equals_numpys_eigenvector_on_an_image_written_out():
    infrared = np.array([[0.0, 0.3, 0.9], [0.6, 1.0, 0.2]], np.float32)
    visible = np.array([[0.4, 0.5, 0.6], [0.3, 0.7, 0.5]], np.float32)
    assert pca(infrared, visible) == pytest.approx(_pca_by_eigh(infrared, visible), abs=1e-6)
    assert pca(visible, infrared) == pytest.approx(_pca_by_eigh(infrared, visible), abs=1e-6)


@pytest.mark.parametrize("strength", [0.02, 0.5, 3.0])
def test_pca_equals_numpys_eigenvector_at_any_ratio_of_variances(strength):
    first, second = _images(40, 51)
    infrared, visible = strength * first / 3, (first + second) / 2
    assert pca(infrared, visible) == pytest.approx(_pca_by_eigh(infrared, visible), abs=1e-5)


def test_pca_of_opposed_images_has_positive_weights():
    infrared, noise = _images(20, 30)
    visible = 0.9 - 0.8 * infrared + 0.05 * noise
    assert np.cov(infrared.ravel(), visible.ravel())[0, 1] < 0
    assert pca(infrared, visible) == pytest.approx(_pca_by_eigh(infrared, visible), abs=1e-6)


def test_pca_does_not_jump_where_the_correlation_changes_its_sign():
    first, second = _images(40, 51)
    second = second - first * np.float32(np.cov(first.ravel(), second.ravel())[0, 1] / first.var(ddof=1))
    results = [pca(2 * first, second + share * first) for share in (-0.01, 0.01)]
    assert np.abs(results[0] - results[1]).max() < 0.06


def test_pca_shows_the_other_image_where_one_is_flat():
    infrared, flat = _images(20, 30)[0], np.full((20, 30), 0.3, np.float32)
    assert pca(infrared, flat) == pytest.approx(infrared, abs=1e-6)
    assert pca(flat, 2 * flat) == pytest.approx(1.5 * flat, abs=1e-6)


def _blurred(image: np.ndarray) -> np.ndarray:
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, kernel, mode="same")
    return image


def test_one_level_of_the_pyramid_equals_the_definition_away_from_the_border():
    def levels(image):
        base = _blurred(image)[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = 4 * base
        return image - _blurred(spread), _blurred(spread)

    images = _images(32, 40)
    (infrared_detail, infrared_base), (visible_detail, visible_base) = (levels(np.float64(i)) for i in images)
    stronger = np.where(abs(infrared_detail) > abs(visible_detail), infrared_detail, visible_detail)
    expected = stronger + (infrared_base + visible_base) / 2
    fused = laplacian(*images, LaplacianSettings(levels=1))
    inside = np.s_[6:-6, 6:-6]
    assert fused[inside] == pytest.approx(expected[inside], abs=1e-5)


@pytest.mark.parametrize("height", [64, 1])
def test_the_pyramid_takes_each_half_from_the_image_that_has_detail_there(height):
    # A chessboard is the one pattern that the pyramid's blur removes entirely: all of it is detail.
    chessboard = 0.5 + 0.3 * (-1.0) ** np.indices((height, 96)).sum(axis=0)
    left = np.arange(96) < 48
    infrared = np.where(left, chessboard, 0.5).astype(np.float32)
    visible = np.where(left, 0.5, chessboard).astype(np.float32)
    fused = laplacian(infrared, visible, LaplacianSettings(levels=2))
    away_from_the_seam = abs(np.arange(96) - 47.5) > 16
    assert fused[:, away_from_the_seam] == pytest.approx(chessboard[:, away_from_the_seam], abs=1e-5)
    # Of an average only half of the contrast is left.
    assert average(infrared, visible).std() == pytest.approx(0.15, abs=1e-5)


@pytest.mark.parametrize("levels", [0, 1, 3, 16])
@pytest.mark.parametrize("size", [(33, 47), (31, 64), (1, 13), (5, 1)])
def test_the_pyramid_of_equal_images_is_the_image_at_odd_sizes_and_any_depth(levels, size):
    image = _images(*size)[0]
    assert laplacian(image, image.copy(), LaplacianSettings(levels=levels)) == pytest.approx(image, abs=1e-5)


def test_a_pyramid_without_levels_is_the_average():
    images = _images(12, 15)
    assert np.array_equal(laplacian(*images, LaplacianSettings(levels=0)), average(*images))


def _guided_by_regression(guide: np.ndarray, image: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Fit each window by itself, in float64, and average the lines over the windows of each pixel."""
    height, width = guide.shape
    lines = np.empty((height, width, 2))
    windows = {}
    for y, x in np.ndindex(height, width):
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        windows[y, x] = window
        guides, targets = np.float64(guide[window]).ravel(), np.float64(image[window]).ravel()
        rows = np.column_stack([guides, np.ones_like(guides)])
        penalty = [[np.sqrt(guides.size * epsilon), 0.0]]
        lines[y, x] = np.linalg.lstsq(np.vstack([rows, penalty]), np.append(targets, 0.0), rcond=None)[0]
    filtered = np.empty((height, width))
    for (y, x), window in windows.items():
        slope, offset = lines[window].reshape(-1, 2).mean(axis=0)
        filtered[y, x] = slope * guide[y, x] + offset
    return filtered


@pytest.mark.parametrize("size", [(8, 9), (1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize(("radius", "epsilon"), [(1, 0.01), (2, 1e-6), (45, 0.3)])
def test_guided_filter_equals_a_regression_in_each_window(size, radius, epsilon):
    guide, image = _images(*size, seed=4)
    expected = _guided_by_regression(guide, image, radius, epsilon)
    assert guided_filter(guide, image, radius, epsilon) == pytest.approx(expected, abs=1e-5)


def test_guided_filter_leaves_an_image_with_the_guides_edges_as_it_is():
    guide = _images(30, 40)[0]
    image = (0.1 + 0.7 * guide).astype(np.float32)
    assert guided_filter(guide, image, 4, 1e-7) == pytest.approx(image, abs=1e-4)


def _correlated(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    radius = kernel.shape[0] // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, radius, mode="edge"), kernel.shape)
    return np.einsum("yxij,ij->yx", windows, kernel)


def _fused_by_definition(images: tuple[np.ndarray, np.ndarray], settings: GuidedFilterSettings) -> np.ndarray:
    """Follow the paper's five steps literally, in float64."""
    images = np.float64(images)
    steps = np.arange(-5, 6)
    gaussian = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 5.0**2))
    cross = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    saliency = np.array([_correlated(abs(_correlated(i, cross)), gaussian / gaussian.sum()) for i in images])
    maps = np.float64(saliency == saliency.max(axis=0))

    def weights(radius, epsilon):
        refined = np.array(
            [_guided_by_regression(i, m, radius, epsilon) for i, m in zip(images, maps, strict=True)]
        )
        refined = refined.clip(0, 1) + 1e-6
        return refined / refined.sum(axis=0)

    radius = settings.average_radius
    bases = np.empty_like(images)
    for y, x in np.ndindex(images[0].shape):
        window = images[:, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        bases[:, y, x] = window.mean(axis=(1, 2))
    fused = weights(settings.base_radius, settings.base_epsilon) * bases
    fused += weights(settings.detail_radius, settings.detail_epsilon) * (images - bases)
    return fused.sum(axis=0)


@pytest.mark.parametrize(
    "settings",
    [
        GuidedFilterSettings(),
        GuidedFilterSettings(average_radius=2, base_radius=4, detail_radius=1),
        GuidedFilterSettings(average_radius=3, base_radius=3, base_epsilon=1e-4, detail_epsilon=0.1),
    ],
    ids=["paper", "small windows", "sharp base"],
)
def test_guided_filter_fusion_equals_the_papers_steps(settings):
    infrared, visible = _images(15, 18, seed=5)
    infrared[:, 9:] = 0.3 + 0.2 * infrared[:, 9:]  # each image is the more salient one somewhere
    visible[:, :9] = 0.6 + 0.2 * visible[:, :9]
    expected = _fused_by_definition((infrared, visible), settings)
    assert guided_filter_fusion(infrared, visible, settings) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("fuse", [laplacian, guided_filter_fusion])
def test_two_half_blurred_images_give_a_sharper_one_than_their_average(fuse):
    scene = cv2.GaussianBlur(_images(96, 128)[0], (0, 0), 0.7)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3.0)
    left = np.arange(128) < 64
    infrared, visible = np.where(left, scene, blurred), np.where(left, blurred, scene)

    def error(image):
        return float(np.sqrt(np.mean((image - scene) ** 2)))

    assert error(fuse(infrared, visible)) < 0.5 * error(average(infrared, visible))


# --- what holds for all ---


@every_method
@pytest.mark.parametrize("size", SIZES)
def test_any_size_gives_a_finite_image_of_that_size_and_leaves_the_inputs(method, size):
    infrared, visible = _images(*size)
    kept = infrared.copy(), visible.copy()
    for image in (infrared, visible):
        image.flags.writeable = False
    fused = method.function(infrared, visible)
    assert fused.shape == size
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert -0.5 < fused.min() <= fused.max() < 1.5  # an overshoot, not a runaway
    assert np.array_equal(infrared, kept[0])
    assert np.array_equal(visible, kept[1])
    assert not np.shares_memory(fused, infrared)
    assert not np.shares_memory(fused, visible)


@every_method
@pytest.mark.parametrize("size", [*SIZES, (61, 80)])
def test_equal_images_give_that_image(method, size):
    image = _images(*size, seed=2)[0]
    assert method.function(image, image.copy()) == pytest.approx(image, abs=1e-5)


@every_method
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 33)])
@pytest.mark.parametrize(("infrared", "visible"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.7, 0.2), (0.31, 0.87)])
def test_flat_images_give_their_average_or_their_maximum(method, size, infrared, visible):
    fused = method.function(np.full(size, infrared, np.float32), np.full(size, visible, np.float32))
    expected = max(infrared, visible) if method.name == "maximum" else (infrared + visible) / 2
    assert fused == pytest.approx(np.full(size, expected), abs=1e-5)


@every_method
def test_no_method_prefers_an_input_by_its_place(method):
    infrared, visible = _images(41, 50, seed=3)
    visible *= 0.5
    swapped = method.function(visible, infrared)
    assert method.function(infrared, visible) == pytest.approx(swapped, abs=1e-4)


@every_method
def test_views_are_taken(method):
    infrared, visible = _images(40, 60)
    views = infrared[::-1, 1::2], visible[:, ::-2]
    expected = method.function(*map(np.ascontiguousarray, views))
    assert method.function(*views) == pytest.approx(expected, abs=1e-6)


@every_method
def test_a_method_refuses_what_are_not_two_images(method):
    image = np.zeros((4, 5), np.float32)
    with pytest.raises(ImageError, match="infrared: expected an array of float32, got uint8"):
        method.function(image.astype(np.uint8), image)
    with pytest.raises(ImageError, match="visible: expected an array of float32, got list"):
        method.function(image, image.tolist())
    with pytest.raises(ImageError, match=r"visible: expected shape \(H, W\), got \(1, 4, 5\)"):
        method.function(image, image[None])
    with pytest.raises(ImageError, match=r"infrared: expected shape \(H, W\), got \(0, 5\)"):
        method.function(image[:0], image[:0])
    with pytest.raises(ImageError, match=r"infrared \(4, 5\) and visible \(4, 4\)"):
        method.function(image, image[:, :4])


@every_method
def test_the_table_says_what_each_method_is(method):
    assert CLASSICAL[method.name] is method
    assert method.title and method.source and method.help.endswith(".")


# --- the engine ---


@every_method
def test_the_engine_gives_what_the_method_gives_at_sizes_that_change(method):
    engine = ClassicalEngine(method.name)
    for size in [(17, 33), (1, 9), (24, 32), (17, 33)]:
        infrared, visible = _images(*size, seed=size[0])
        fused = engine(infrared[None, None], visible[None, None])
        assert fused.shape == (1, 1, *size)
        assert fused.dtype == np.float32
        assert np.array_equal(fused[0, 0], method.function(infrared, visible))


def test_the_engine_says_what_runs_and_what_it_takes():
    engine = ClassicalEngine("guided_filter")
    assert (engine.name, engine.device) == ("opencv", "cpu")
    assert engine.description == f"opencv {cv2.__version__} on cpu, float32; guided_filter needs no weights"
    assert (engine.spec.name, engine.spec.title) == ("guided_filter", "Guided-filter fusion (GFF)")
    assert (engine.spec.input_range.value, engine.spec.output_range.value) == ("unit", "unit")


def test_the_engine_takes_views_and_its_results_are_the_callers_to_keep():
    engine = ClassicalEngine("laplacian")
    engine.prepare(20, 30)
    infrared, visible = (image[None, None] for image in _images(20, 60))
    views = infrared[..., ::2], visible[..., ::-2]
    first = engine(*views)
    kept = first.copy()
    first += 1  # writable, and nobody else's
    assert np.array_equal(engine(*views), kept)


def test_the_engine_refuses_what_every_engine_refuses():
    engine = ClassicalEngine("average")
    image = np.zeros((1, 1, 4, 5), np.float32)
    with pytest.raises(ImageError, match=r"infrared: expected an array of float32.*, got float64"):
        engine(image.astype(np.float64), image)
    with pytest.raises(ImageError, match=r"visible: expected shape \(1, 1, H, W\), got \(4, 5\)"):
        engine(image, image[0, 0])
    with pytest.raises(ImageError, match="one pixel grid"):
        engine(image, image[..., :4])
    with pytest.raises(ImageError, match=r"visible: expected finite values.*NaN"):
        engine(image, np.full_like(image, np.nan))
    with pytest.raises(ImageError, match="at least 1"):
        engine.prepare(0, 5)


def test_a_closed_engine_refuses_to_run():
    engine = ClassicalEngine("pca")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.prepare(4, 5)


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match="unknown classical method 'laplace'; did you mean 'laplacian'"):
        ClassicalEngine("laplace")


def test_a_failure_inside_opencv_is_an_engine_error(monkeypatch):
    def fail(infrared, visible):
        raise cv2.error("out of memory")

    monkeypatch.setitem(CLASSICAL, "average", dataclasses.replace(CLASSICAL["average"], function=fail))
    image = np.zeros((1, 1, 4, 5), np.float32)
    with pytest.raises(EngineError, match=r"average.*5x4: out of memory"):
        ClassicalEngine("average")(image, image)


def test_settings_outside_their_bounds_are_refused():
    with pytest.raises(SettingsError, match="levels"):
        LaplacianSettings(levels=-1)
    with pytest.raises(SettingsError, match="detail_epsilon"):
        GuidedFilterSettings(detail_epsilon=0.0)
