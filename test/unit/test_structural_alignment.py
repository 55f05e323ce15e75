"""Structural alignment: what the features see, what the cells say, the motions fitted, the whole search."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from drawn_scenes import scene

from fusion_ros.alignment.evidence import Evidence, local_evidence
from fusion_ros.alignment.motion import MOTION_MODELS, fitted, motion_flow, motion_of
from fusion_ros.alignment.structural import StructuralEstimator, StructuralSettings, find_translation
from fusion_ros.alignment.structure import View, agreement, confidence_of, structural_features
from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.evaluation.conditions import Condition
from fusion_ros.evaluation.registration.measure import PairImages, deformed, known_part_error, recorded
from fusion_ros.synthetic.misalign import Misalignment

SIZE = (240, 320)


def texture(seed: int, size: tuple[int, int] = SIZE, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Sum waves, each known between the pixels too: ``texture(shift=s)(p + s) = texture()(p)`` for any ``s``."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    image = np.zeros(size)
    for angle, length, phase in zip(
        rng.uniform(0, 2 * np.pi, 60), rng.uniform(9, 30, 60), rng.uniform(0, 2 * np.pi, 60), strict=True
    ):
        along = (x - shift[0]) * math.cos(angle) + (y - shift[1]) * math.sin(angle)
        image += np.sin(2 * np.pi * along / length + phase)
    return (0.5 + image / 60).astype(np.float32)


def translation(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def about_centre(matrix: list[list[float]], size: tuple[int, int] = SIZE) -> np.ndarray:
    """A homography of pixels that is given for coordinates counted from the image's centre."""
    centre = translation((size[1] - 1) / 2, (size[0] - 1) / 2)
    return centre @ np.array(matrix) @ np.linalg.inv(centre)


def flow_of(homography: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """``(H, W, 2)``, by OpenCV."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    pixels = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    return (cv2.perspectiveTransform(pixels, homography) - pixels).reshape(*size, 2)


def in_units(homography: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A homography of pixels as :func:`motion_flow` takes it: from the centre, half the longer side being 1."""
    unit = max(size) / 2
    pixels = np.array([[unit, 0, (size[1] - 1) / 2], [0, unit, (size[0] - 1) / 2], [0, 0, 1]])
    return np.linalg.inv(pixels) @ homography @ pixels


def errors(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(flow - truth, axis=-1)


MOTIONS = {
    "translation": translation(2.2, -1.4),
    "similarity": about_centre([[1.012, -0.01, 1.0], [0.01, 1.012, -0.7], [0, 0, 1]]),
    "affine": about_centre([[1.012, 0.008, 0.8], [-0.01, 0.99, -1.0], [0, 0, 1]]),
    "homography": about_centre([[1.01, 0.006, 0.6], [-0.008, 0.995, -1.0], [4e-5, -3e-5, 1]]),
}


# What the features see


def test_features_do_not_know_which_side_is_brighter_nor_by_how_much():
    image = scene()
    features = structural_features(image)
    assert features.shape == (9, *SIZE) and features.dtype == np.float32
    np.testing.assert_allclose(structural_features(1 - image), features, atol=1e-5)
    length = np.linalg.norm(features, axis=0)
    weak = structural_features(0.3 + 0.5 * image)
    alike = (weak * features).sum(axis=0) / np.maximum(length * np.linalg.norm(weak, axis=0), 1e-6)
    assert alike[length > 0.3].min() > 0.999
    assert np.abs(np.linalg.norm(weak, axis=0) - length)[length > 0.95].max() < 0.05
    assert features.min() >= 0.0 and 0.9 < length.max() < 1.0


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_flat_image_has_no_features(grey):
    assert not structural_features(np.full((30, 40), grey, np.float32)).any()


def test_the_strongest_channel_of_an_edge_is_the_one_across_it():
    for channel in range(9):
        angle = channel * math.pi / 9
        y, x = np.mgrid[-30:31, -30:31]
        edge = 1 / (1 + np.exp(-(x * math.cos(angle) + y * math.sin(angle))))
        assert structural_features(edge.astype(np.float32))[:, 30, 30].argmax() == channel


# How sure the features are


@pytest.mark.parametrize("size", [SIZE, (120, 160)], ids=str)
def test_only_images_of_one_scene_that_lie_on_one_another_agree(size):
    fixed = scene(size=size)
    right = View(scene(size=size, is_thermal=True), fixed)
    assert right.confidence(None) > 0.9
    for seed in range(1, 6):
        assert View(scene(size=size, is_thermal=True, seed=seed), fixed).confidence(None) < 0.15
        noise = np.random.default_rng(seed).random(size, np.float32)
        assert View(noise, fixed).confidence(None) < 0.15
        assert View(fixed, noise).confidence(None) < 0.15
    beside = View(scene(translation(size[1] / 16, 0), size=size, is_thermal=True), fixed)
    assert beside.confidence(None) < 0.15


def test_the_right_flow_gains_and_the_wrong_one_loses():
    view = View(scene(translation(6, -4), is_thermal=True), scene())
    flow = flow_of(translation(6, -4)).astype(np.float32)

    def gain(flow: np.ndarray | None) -> float:
        return view.agreement(None if flow is None else view.shrunk(flow)).gain

    assert gain(flow) > 2 * abs(gain(None))
    assert gain(flow) > 2 * abs(gain(-flow))
    assert view.confidence(flow) > 0.9 > 0.15 > view.confidence(-flow)
    assert gain(np.zeros_like(flow)) == pytest.approx(gain(None), abs=1e-6)
    assert view.confidence(flow, search_px=64.0) <= view.confidence(flow)


def test_the_best_of_many_has_to_be_better():
    significances = np.linspace(-3, 12, 40).tolist()
    for searched in (1.0, 289.0, 1e6):
        found = [confidence_of(each, searched) for each in significances]
        assert found == sorted(found) and found[0] == 0.0 and found[-1] == 1.0
    assert confidence_of(5.0, 1.0) > confidence_of(5.0, 289.0) > confidence_of(5.0, 1e4)


def test_where_nothing_is_seen_nothing_agrees():
    moving, fixed = scene(is_thermal=True), scene()
    view = View(moving, fixed, np.zeros(SIZE, bool))
    assert (view.agreement().gain, view.agreement().significance) == (0.0, 0.0)
    assert view.confidence(None) == 0.0


def test_what_is_not_seen_takes_no_part():
    moving, fixed = scene(is_thermal=True), scene()
    valid = np.ones(SIZE, bool)
    valid[:, 200:] = False
    spoilt = np.where(valid, moving, np.random.default_rng(0).random(SIZE, np.float32))
    spoilt_gain, gain = (View(image, fixed, valid).agreement().gain for image in (spoilt, moving))
    assert spoilt_gain == pytest.approx(gain, rel=0.2)


def test_an_image_that_ends_is_no_sign_of_agreement():
    """Beside the border of what is seen a shift finds nothing; that must not speak for the place as it is."""
    rng = np.random.default_rng(3)
    mask = np.zeros((160, 240), np.float32)
    mask[20:-20, 20:-20] = 1.0
    for _ in range(4):
        one, other = (structural_features(rng.random(mask.shape, np.float32)) for _ in range(2))
        assert abs(agreement(one * mask, other, mask).significance) < 3.5


# Motions


@pytest.mark.parametrize("size", [SIZE, (91, 64)], ids=str)
@pytest.mark.parametrize("model", MOTIONS)
def test_the_flow_of_a_motion_is_what_opencv_says(model, size):
    homography = MOTIONS[model]
    flow = motion_flow(in_units(homography, size), size)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, flow_of(homography, size), atol=1e-4)


@pytest.mark.parametrize("at", [(60, 80), (480, 640), (100, 200)], ids=str)
def test_the_flow_on_a_resized_image_is_that_of_the_motion_between_resized_images(at):
    matrix = MOTIONS["homography"]
    scale = np.array([at[1] / SIZE[1], at[0] / SIZE[0]])
    resized = np.array([[scale[0], 0, (scale[0] - 1) / 2], [0, scale[1], (scale[1] - 1) / 2], [0, 0, 1]])
    expected = flow_of(resized @ matrix @ np.linalg.inv(resized), at)
    np.testing.assert_allclose(motion_flow(in_units(matrix), SIZE, at), expected, atol=1e-3)


@pytest.mark.parametrize("model", MOTIONS)
def test_the_motion_of_a_flow_is_the_motion_that_made_it(model):
    flow = flow_of(MOTIONS[model]).astype(np.float32)
    assert errors(motion_flow(motion_of(flow), SIZE), flow).max() < 0.1


@pytest.mark.parametrize("wrong", [0.0, 0.4], ids=["exact", "40 % wrong"])
@pytest.mark.parametrize("model", MOTION_MODELS)
def test_every_model_recovers_its_motion_from_what_the_cells_say(model, wrong):
    truth = flow_of(MOTIONS[model])
    rng = np.random.default_rng(5)
    y, x = np.mgrid[8 : SIZE[0] : 16, 8 : SIZE[1] : 16].reshape(2, -1)
    lies = rng.random(x.size) < wrong
    said = np.where(lies[:, None], rng.uniform(-12, 12, (x.size, 2)), truth[y, x])
    matrix = np.eye(3)
    for _ in range(5):  # what remains after each fit
        rest = said - motion_flow(matrix, SIZE)[y, x]
        evidence = Evidence(np.column_stack([x, y]).astype(float), rest, np.tile(np.eye(2), (x.size, 1, 1)))
        matrix = fitted(matrix, evidence, SIZE, model, tolerance=2.0, stiffness=0.0)
    assert errors(motion_flow(matrix, SIZE), truth).max() < (0.4 if wrong else 0.01)


def test_without_evidence_a_motion_stays_what_it_was():
    before = in_units(MOTIONS["affine"])
    nothing = Evidence(np.full((4, 2), 50.0), np.full((4, 2), 3.0), np.zeros((4, 2, 2)))
    for model in MOTION_MODELS:
        np.testing.assert_allclose(fitted(before, nothing, SIZE, model, tolerance=1.0), before, atol=1e-12)


def test_one_place_alone_moves_the_image_and_does_not_deform_it():
    evidence = Evidence(np.array([[40.0, 40.0]]), np.array([[1.5, -0.5]]), np.eye(2)[None])
    flow = motion_flow(fitted(np.eye(3), evidence, SIZE, "homography", tolerance=4.0), SIZE)
    assert errors(flow, np.array([1.5, -0.5])).max() < 0.2


# What the cells say


def inside(size: tuple[int, int], border: int = 8) -> np.ndarray:
    """A mask without the border, where some displacements lead out of the image."""
    mask = np.zeros(size, np.float32)
    mask[border:-border, border:-border] = 1.0
    return mask


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-1.5, 0.5), (0.5, 1.0)], ids=str)
def test_the_cells_find_a_known_displacement(shift):
    fixed, moving = (structural_features(texture(1, shift=s)) for s in ((0.0, 0.0), shift))
    found = local_evidence(moving, fixed, inside(SIZE), radius=4, cell=16)
    assert found.positions.shape == (300, 2) and found.precisions.shape == (300, 2, 2)
    np.testing.assert_allclose(found.positions[:2], [[7.5, 7.5], [23.5, 7.5]])
    asked = np.einsum("nij,nj->i", found.precisions, found.displacements)
    np.testing.assert_allclose(np.linalg.solve(found.precisions.sum(axis=0), asked), shift, atol=0.1)
    assert np.median(errors(found.displacements, np.array(shift))) < 0.15


@pytest.mark.parametrize("degrees", [0, 30, 90, 135])
def test_a_single_edge_says_nothing_of_the_direction_in_which_it_runs(degrees):
    angle = math.radians(degrees)
    along = np.array([math.cos(angle), math.sin(angle)])
    y, x = np.mgrid[-40:41, -40:41]
    edge = 1 / (1 + np.exp((x * along[1] - y * along[0]) / 1.5))
    features = structural_features(edge.astype(np.float32))
    weights = local_evidence(features, features, inside(edge.shape), radius=3, cell=16).precisions
    crossing = structural_features(texture(1, edge.shape))
    reference = local_evidence(crossing, crossing, inside(edge.shape), radius=3, cell=16).precisions
    usual = np.median(np.einsum("i,nij,j->n", along, reference, along))
    assert np.einsum("i,nij,j->n", along, weights, along).max() < 0.02 * usual


def test_blank_images_and_what_is_not_seen_have_no_weight():
    features = structural_features(texture(2))
    ones = np.ones(SIZE, np.float32)
    assert not local_evidence(features, np.zeros_like(features), ones, 3, 16).precisions.any()
    assert not local_evidence(features, features, ones * 0, 3, 16).precisions.any()
    half = ones.copy()
    half[:, 160:] = 0
    found = local_evidence(features, features, half, 3, 16)
    far, near = found.positions[:, 0] > 200, found.positions[:, 0] < 120
    assert not found.precisions[far].any() and found.precisions[near].any(axis=(1, 2)).mean() > 0.9
    assert np.isfinite(found.displacements).all()


def test_magnified_evidence_is_that_of_the_larger_image():
    small = Evidence(np.array([[0.0, 0.0], [9.5, 4.0]]), np.array([[1.0, -2.0], [0.5, 0.0]]), np.ones((2, 2, 2)))
    large = small.magnified(2.0, 4.0)
    np.testing.assert_allclose(large.positions, [[0.5, 1.5], [19.5, 17.5]])
    np.testing.assert_allclose(large.displacements, [[2.0, -8.0], [1.0, 0.0]])
    np.testing.assert_allclose(large.precisions[0], [[1 / 4, 1 / 8], [1 / 8, 1 / 16]])


@pytest.mark.parametrize("shift", [(0, 0), (7, -12), (-12, 3)], ids=str)
def test_the_translation_of_all_features_is_found_to_the_pixel(shift):
    moving, fixed = structural_features(texture(3, shift=shift)), structural_features(texture(3))
    assert find_translation(moving, fixed, inside(SIZE, 16), 12) == shift


# The whole search


@pytest.mark.parametrize(
    ("length", "degrees"), [(0, 0), (3, 20), (3, 200), (8, 140), (8, 320), (12, 80), (12, 260)]
)
def test_a_known_shift_is_found_to_a_tenth_of_a_pixel(length, degrees):
    shift = length * math.cos(math.radians(degrees)), length * math.sin(math.radians(degrees))
    fixed = scene(noise=0.02)
    for moving in (scene(translation(*shift), is_thermal=True, noise=0.02), 1 - scene(translation(*shift))):
        found = StructuralEstimator()(moving, fixed)
        assert found.flow.shape == (*SIZE, 2) and found.flow.dtype == np.float32
        assert errors(found.flow, np.array(shift)).max() < 0.1
        assert found.confidence > 0.9


@pytest.mark.parametrize("is_thermal", [False, True], ids=["inverted", "thermal"])
@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
def test_a_known_motion_is_found_by_its_model_and_by_richer_ones(model, is_thermal):
    homography = translation(4, -3) @ MOTIONS[model]
    moving = scene(homography, is_thermal=is_thermal)
    moving = moving if is_thermal else 1 - moving
    truth = flow_of(homography)
    models = list(MOTION_MODELS)
    for richer in models[models.index(model) :]:
        found = StructuralEstimator(StructuralSettings(model=richer))(moving, scene())
        assert errors(found.flow, truth).max() < 0.7
        assert found.confidence > 0.9


def test_a_start_reaches_what_the_search_alone_does_not():
    shift = (34.0, -26.0)
    moving, fixed = scene(translation(*shift), is_thermal=True), scene()
    estimate = StructuralEstimator()
    start = np.broadcast_to(np.float32([30, -30]), (*SIZE, 2)).copy()
    found = estimate(moving, fixed, start=start)
    assert errors(found.flow, np.array(shift)).max() < 0.15
    assert found.confidence > 0.9
    assert estimate(moving, fixed).confidence < 0.3
    assert (start == np.float32([30, -30])).all()


@pytest.mark.parametrize("model", ["translation", "homography"])
def test_the_end_does_not_depend_on_the_start(model):
    moving, fixed = scene(translation(5, 4), is_thermal=True), scene()
    estimate = StructuralEstimator(StructuralSettings(model=model))
    free = estimate(moving, fixed)
    begun = estimate(moving, fixed, start=flow_of(translation(-3, 7)).astype(np.float32))
    assert errors(begun.flow, free.flow).max() < 0.05


def test_where_the_moving_camera_sees_nothing_is_not_looked_at():
    moving = scene(translation(6, 3), is_thermal=True)
    valid = np.zeros(SIZE, bool)
    valid[20:-30, 30:-40] = True
    framed = np.where(valid, moving, 0).astype(np.float32)
    found = StructuralEstimator()(framed, scene(), valid=valid)
    assert errors(found.flow, np.array([6, 3])).max() < 0.2
    assert found.confidence > 0.9


@pytest.mark.parametrize("share", [0.45, 0.5])
def test_a_small_common_view_is_no_reason_to_be_coarse(share):
    """A thermal camera of a long focal length fills less than a quarter of what a wide RGB camera shows."""
    size, shift = (480, 640), (6.0, 2.5)
    moving, fixed = scene(translation(*shift), size=size, is_thermal=True), scene(size=size)
    valid = np.zeros(size, bool)
    rows, columns = (round(side * (1 - share) / 2) for side in size)
    valid[rows:-rows, columns:-columns] = True
    found = StructuralEstimator()(np.where(valid, moving, 0).astype(np.float32), fixed, valid=valid)
    assert errors(found.flow, np.array(shift)).max() < 0.3
    assert found.confidence > 0.9


@pytest.mark.parametrize("search_px", [100.0, 200.0])
def test_a_search_nearly_as_wide_as_the_image_leaves_something_to_judge_by(search_px):
    estimate = StructuralEstimator(StructuralSettings(search_px=search_px))
    found = estimate(scene(translation(5, -3), is_thermal=True), scene())
    assert errors(found.flow, np.array([5, -3])).max() < 0.2
    assert found.confidence > 0.9
    for seed in range(1, 4):
        assert estimate(scene(is_thermal=True, seed=seed), scene()).confidence < 0.15


def spoilt(kind: str, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    levels = {"black": 0.0, "grey": 0.5, "saturated": 1.0}
    if kind in levels:
        return np.full(size, levels[kind], np.float32)
    noise = np.random.default_rng(seed).random(size, np.float32)
    return noise if kind == "noise" else 0.5 + 0.02 * noise


@pytest.mark.parametrize("kind", ["black", "grey", "saturated", "noise", "faint noise"])
@pytest.mark.parametrize(("model", "size"), [("translation", SIZE), ("homography", (120, 160))])
def test_what_shows_nothing_is_not_believed(kind, model, size):
    estimate = StructuralEstimator(StructuralSettings(model=model))
    good, bad = scene(size=size), spoilt(kind, size)
    for moving, fixed in ((bad, good), (good, bad), (spoilt(kind, size, 1), bad)):
        found = estimate(moving, fixed)
        assert np.isfinite(found.flow).all()
        assert found.confidence < 0.3
        if "noise" not in kind:
            assert found.confidence == 0.0 and not found.flow.any()  # nothing was found, and nothing is moved


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (16, 16), (40, 30), (8, 200), (200, 8), (3, 600)], ids=str)
@pytest.mark.parametrize("model", ["translation", "homography"])
def test_tiny_images_have_a_clear_answer(size, model):
    moving, fixed = (spoilt("noise", size, seed) for seed in range(2))
    estimate = StructuralEstimator(StructuralSettings(model=model, search_px=64.0))
    for start in (None, np.ones((*size, 2), np.float32)):
        found = estimate(moving, fixed, start=start)
        assert found.flow.shape == (*size, 2) and np.isfinite(found.flow).all()
        assert found.confidence == 0.0


def test_what_is_no_pair_of_images_is_refused():
    image = scene()
    for moving, fixed, message in (
        (image[:100], image, "expected two images on one pixel grid"),
        (image.astype(np.float64), image, "moving: expected an array of float32, got float64"),
        (image, np.dstack([image] * 3), r"fixed: expected shape \(H, W\)"),
        (image[:0], image[:0], "moving: expected shape"),
    ):
        with pytest.raises(ImageError, match=message):
            StructuralEstimator()(moving, fixed)
    with pytest.raises(SettingsError, match=r"model.*translaton"):
        StructuralSettings(model="translaton")


@pytest.mark.parametrize("name", ["FLIR_00211", "FLIR_04688", "FLIR_08094"])
def test_between_real_images_a_known_shift_is_found(shared, name):
    """They are never perfectly aligned as they come, so what counts is the difference that the shift makes."""
    folder = shared / "data" / "roadscene"
    rgb, thermal = (cv2.imread(str(folder / kind / f"{name}.jpg")) for kind in ("vis", "ir"))
    images = PairImages("roadscene", name, np.ascontiguousarray(thermal[..., 0]), rgb[..., ::-1].copy())
    plain, case = recorded(images), deformed(images, Condition(Misalignment("shift", 8)), seed=0)
    estimate = StructuralEstimator()
    first, second = estimate(plain.moving, plain.fixed), estimate(case.moving, case.fixed)
    assert min(first.confidence, second.confidence) > 0.3
    assert known_part_error(case, second.flow, first.flow) < 0.1
