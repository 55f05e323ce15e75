"""Deformations against the definition: known functions at known positions, exact levels, exact inverses."""

from __future__ import annotations

import math
import zlib

import cv2
import numpy as np
import pytest
from other_process import printed_elsewhere

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.synthetic.misalign import MISALIGNMENTS, Misalignment, parse_misalignments, residual

SIZE = (120, 171)
GEOMETRIC = [Misalignment(kind, entry.levels[0]) for kind, entry in MISALIGNMENTS.items() if kind != "noise"]
IN_PIXELS = [item for item in GEOMETRIC if item.unit == "px"]
STILL = [
    Misalignment(item.kind, MISALIGNMENTS[item.kind].levels[-1]) for item in GEOMETRIC if item.kind != "mixed"
]  # without noise


def name_of(item):
    return item.kind


def landscape(x, y):
    """A smooth picture with slopes up to 11 a pixel, between 20 and 230."""
    return 125 + 60 * np.sin(x / 9 + 1) * np.cos(y / 11) + 45 * np.cos((x + 2 * y) / 17)


def grid(size=SIZE):
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return x, y


def folded(position, side):
    """Where a position lies after reflection at the outermost pixel centres."""
    inside = np.mod(position, 2 * (side - 1))
    return np.minimum(inside, 2 * (side - 1) - inside)


def rms(field):
    return math.sqrt(np.mean(np.sum(np.square(field, dtype=np.float64), axis=-1)))


@pytest.mark.parametrize("misalignment", STILL, ids=name_of)
@pytest.mark.parametrize(("dtype", "gain"), [(np.float32, 1.0), (np.uint8, 1.0), (np.uint16, 250.0)])
def test_a_deformed_picture_shows_the_original_where_the_field_points(misalignment, dtype, gain):
    x, y = grid()
    original = np.round(gain * landscape(x, y)).astype(dtype)
    deformed, field = misalignment.apply(original, seed=3)
    assert deformed.dtype == dtype and deformed.shape == original.shape
    assert field.dtype == np.float32 and field.shape == (*SIZE, 2)
    at_x, at_y = x + field[..., 0], y + field[..., 1]
    expected = gain * landscape(folded(at_x, SIZE[1]), folded(at_y, SIZE[0]))
    # Within two pixels of a line of reflection the picture has a bend, which no interpolation follows.
    smooth = np.ones(SIZE, bool)
    for at, side in ((at_x, SIZE[1]), (at_y, SIZE[0])):
        smooth &= (np.abs(at) > 2) & (np.abs(at - (side - 1)) > 2)
    assert smooth.mean() > 0.85
    slope = 11.0  # a pixel: 1/12 pixel of it is what OpenCV's bicubic sampling may be off
    np.testing.assert_allclose(deformed[smooth], expected[smooth], atol=gain * slope / 12 + 1.0)
    if misalignment.kind == "shift":  # then the reflection was tested, too
        assert (smooth & ((at_x < 0) | (at_x > SIZE[1] - 1)) & (at_y != folded(at_y, SIZE[0]))).any()


def test_convention_a_field_is_what_warp_by_flow_takes():
    x, y = grid()
    original = landscape(x, y).astype(np.float32)
    deformed, field = Misalignment("elastic", 3).apply(original, seed=1)
    inner = (slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(deformed[inner], warp_by_flow(original, field)[inner], atol=1.0)


@pytest.mark.parametrize("size", [(480, 640), (121, 83), (64, 65)])
@pytest.mark.parametrize("misalignment", IN_PIXELS, ids=name_of)
def test_a_level_in_pixels_is_the_rms_displacement_exactly(misalignment, size):
    assert rms(misalignment.field(size, seed=5)) == pytest.approx(misalignment.level, rel=1e-6)


def test_a_shift_has_its_length_and_directions_all_round():
    shifts = np.array([Misalignment("shift", 5).field((64, 64), seed)[7, 9] for seed in range(200)])
    np.testing.assert_allclose(np.hypot(*shifts.T), 5.0, rtol=1e-6)
    quadrants = np.bincount(2 * (shifts[:, 0] > 0) + (shifts[:, 1] > 0), minlength=4)
    assert (quadrants > 25).all()


def test_a_rotation_turns_by_its_degrees_about_the_centre_either_way():
    x, y = grid()
    from_centre = (x - 85) + 1j * (y - 59.5)
    angles = []
    for seed in range(8):
        field = Misalignment("rotation", 2.5).field(SIZE, seed).astype(np.float64)
        ratio = (from_centre + field[..., 0] + 1j * field[..., 1]) / from_centre
        np.testing.assert_allclose(np.abs(ratio), 1.0, atol=1e-5)
        np.testing.assert_allclose(np.angle(ratio), np.angle(ratio[0, 0]), atol=1e-5)
        angles.append(math.degrees(np.angle(ratio[0, 0])))
    assert {round(angle, 3) for angle in angles} == {-2.5, 2.5}


def test_a_scaling_lengthens_or_shortens_distances_from_the_centre_by_its_per_cent():
    x, y = grid()
    factors = set()
    for seed in range(8):
        field = Misalignment("scale", 3).field(SIZE, seed).astype(np.float64)
        np.testing.assert_allclose(field[..., 0] * (y - 59.5), field[..., 1] * (x - 85), atol=1e-3)
        factors.add(round(1 + field[0, 0, 0] / -85, 5))
    assert factors == {0.97, 1.03}


def test_an_affine_field_is_affine_and_an_elastic_one_is_not():
    x, y = grid()
    basis = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    left = {}
    for kind in ("affine", "elastic", "mixed"):
        field = Misalignment(kind, 4).field(SIZE, seed=2).reshape(-1, 2).astype(np.float64)
        left[kind] = rms(field - basis @ np.linalg.lstsq(basis, field, rcond=None)[0])
    assert left["affine"] < 1e-4
    assert left["elastic"] > 0.5 and left["mixed"] > 0.5


def homography_of(field):
    """The homography that four points of a field give."""
    points = np.float32([[10, 10], [160, 12], [155, 110], [12, 100]])
    to = np.float32([(x, y) + field[int(y), int(x)] for x, y in points])
    return cv2.getPerspectiveTransform(points, to)


@pytest.mark.parametrize("level", [2, 8, 15])
def test_a_perspective_field_is_one_homography_and_more_than_affine(level):
    x, y = grid()
    original = landscape(x, y).astype(np.float32)
    for seed in range(3):
        deformed, field = Misalignment("perspective", level).apply(original, seed)
        homography = homography_of(field)
        to_x, to_y, depth = np.einsum("ij,jhw->ihw", homography, np.stack([x, y, np.ones_like(x)]))
        np.testing.assert_allclose(field[..., 0], to_x / depth - x, atol=2e-3)
        np.testing.assert_allclose(field[..., 1], to_y / depth - y, atol=2e-3)
        basis = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
        flat = field.reshape(-1, 2).astype(np.float64)
        assert rms(flat - basis @ np.linalg.lstsq(basis, flat, rcond=None)[0]) > 0.01 * level
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        expected = cv2.warpPerspective(original, homography, SIZE[::-1], flags=flags)
        real = (np.abs(field[..., 0] + x - 85) < 80) & (np.abs(field[..., 1] + y - 59.5) < 55)
        np.testing.assert_allclose(deformed[real], expected[real], atol=0.5)


def test_a_perspective_moves_each_corner_independently_of_the_others():
    fields = np.stack([Misalignment("perspective", 4).field(SIZE, seed) for seed in range(300)])
    moves = fields[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(300, 8)
    assert np.abs(moves.mean(axis=0)).max() < 1.0
    assert np.abs(np.corrcoef(moves.T) - np.eye(8)).max() < 0.25


@pytest.mark.parametrize("misalignment", IN_PIXELS, ids=name_of)
def test_a_level_of_zero_moves_nothing(misalignment):
    np.testing.assert_array_equal(Misalignment(misalignment.kind, 0).field(SIZE, seed=1), np.zeros((*SIZE, 2)))


def test_an_elastic_field_is_as_smooth_as_noise_under_a_gaussian_of_32_pixels():
    """Of white noise under a Gaussian, the slope's deviation is the value's over sigma times the root of 2."""
    values, slopes = [], []
    for seed in range(6):
        field = Misalignment("elastic", 4).field((480, 640), seed).astype(np.float64)
        values.append(np.mean(field**2))
        slopes.append(np.mean(np.diff(field, axis=1) ** 2) / 2 + np.mean(np.diff(field, axis=0) ** 2) / 2)
    sigma = math.sqrt(np.mean(values) / np.mean(slopes) / 2)
    assert sigma == pytest.approx(32, rel=0.1)


def test_an_elastic_field_is_as_strong_at_the_border_as_inside():
    fields = [Misalignment("elastic", 4).field((240, 320), seed) for seed in range(30)]
    border = rms(np.stack([field[:8] for field in fields]))
    assert border == pytest.approx(4.0, rel=0.25)


def test_of_a_mixed_field_neither_the_affine_nor_the_elastic_part_is_small():
    x, y = grid((480, 640))
    basis = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    field = Misalignment("mixed", 8).field((480, 640), seed=4).reshape(-1, 2).astype(np.float64)
    elastic = field - basis @ np.linalg.lstsq(basis, field, rcond=None)[0]
    assert 0.3 < rms(elastic) / 8 < 0.9


@pytest.mark.parametrize("misalignment", GEOMETRIC, ids=name_of)
def test_the_seed_decides_the_shape_and_the_level_only_its_strength(misalignment):
    field = misalignment.field(SIZE, seed="street/0001")
    np.testing.assert_array_equal(field, misalignment.field(SIZE, seed="street/0001"))
    assert not np.array_equal(field, misalignment.field(SIZE, seed="street/0002")) or misalignment.unit != "px"
    if misalignment.kind not in ("rotation", "perspective"):  # their displacement is not linear in the level
        twice = Misalignment(misalignment.kind, 2 * misalignment.level).field(SIZE, seed="street/0001")
        np.testing.assert_allclose(twice, 2 * field, rtol=1e-5, atol=1e-5)


def fingerprints():
    x, y = grid()
    original = landscape(x, y).astype(np.uint8)
    return [zlib.crc32(item.apply(original, seed="a")[0].tobytes()) for item in parse_misalignments("default")]


def test_every_process_makes_the_same_and_global_random_state_plays_no_part(repository):
    assert printed_elsewhere(repository, "test_misalign", "fingerprints()") == str(fingerprints())


def test_noise_has_its_deviation_and_moves_nothing():
    grey = np.full((200, 300), 128, np.uint8)
    noisy, field = Misalignment("noise", 5).apply(grey, seed=1)
    assert not field.any() and residual(field) == 0.0
    difference = noisy.astype(float) - 128
    assert difference.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert abs(difference.mean()) < 0.2
    across = np.corrcoef(difference[:, 1:].ravel(), difference[:, :-1].ravel())[0, 1]
    assert abs(across) < 0.02  # one pixel knows nothing of the next


def test_noise_of_16_bit_counts_refers_to_the_span_that_they_use():
    counts = np.round(np.linspace(29000, 31000, 60000)).astype(np.uint16).reshape(200, 300)
    noisy, _ = Misalignment("noise", 10).apply(counts, seed=1)
    assert noisy.dtype == np.uint16
    assert (noisy.astype(float) - counts).std() == pytest.approx(0.10 * 0.99 * 2000, rel=0.02)


def test_a_grey_image_coded_as_colour_stays_grey_under_noise():
    grey = np.repeat(np.full((40, 50, 1), 100, np.uint8), 3, axis=2)
    noisy, _ = Misalignment("mixed", 4).apply(grey, seed=1)
    assert np.ptp(noisy, axis=2).max() == 0 and noisy.std() > 5


def test_in_a_sequence_the_noise_changes_and_the_geometry_stays():
    x, y = grid()
    original = landscape(x, y).astype(np.uint8)
    mixed = Misalignment("mixed", 4)
    (first, field), (second, same_field) = mixed.apply(original, 1, index=0), mixed.apply(original, 1, index=1)
    np.testing.assert_array_equal(field, same_field)
    assert (first != second).mean() > 0.5


@pytest.mark.parametrize("misalignment", parse_misalignments("default"), ids=lambda item: item.name)
@pytest.mark.parametrize("shape", [(91, 77), (91, 77, 1), (91, 77, 3), (91, 77, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_type_and_shape_are_kept_and_the_original_is_left_alone(misalignment, shape, dtype):
    original = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    before = original.copy()
    deformed, _ = misalignment.apply(original, seed=1)
    assert deformed.dtype == dtype and deformed.shape == shape and not np.shares_memory(deformed, original)
    np.testing.assert_array_equal(original, before)


def test_colour_views_with_reversed_channels_are_taken():
    original = np.random.default_rng(1).integers(0, 255, (60, 70, 3)).astype(np.uint8)
    shift = Misalignment("shift", 3)
    np.testing.assert_array_equal(shift.apply(original[..., ::-1], 1)[0][..., ::-1], shift.apply(original, 1)[0])


def test_deforming_takes_little_of_the_sharpness_of_real_thermal_images(shared):
    kept = []
    for path in sorted((shared / "data/roadscene/ir").glob("*.jpg"))[:6]:
        original = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        deformed, _ = Misalignment("shift", 5).apply(original, seed=path.stem)
        inner = [image[16:-16, 16:-16].astype(float) for image in (deformed, original)]
        energy = [np.mean(np.diff(image, axis=0) ** 2) + np.mean(np.diff(image, axis=1) ** 2) for image in inner]
        kept.append(math.sqrt(energy[0] / energy[1]))
    assert np.mean(kept) > 0.95


def test_default_is_every_kind_at_its_usual_levels():
    found = parse_misalignments("default")
    assert [item.level for item in found if item.kind == "shift"] == [3, 5, 8]
    assert {item.kind for item in found} == {
        "shift", "rotation", "scale", "affine", "perspective", "elastic", "mixed", "noise",
    }  # fmt: skip
    assert len({item.name for item in found}) == len(found)


def test_a_text_names_kinds_and_levels_each_once_in_order():
    found = parse_misalignments("shift:3, elastic:2.5,shift:3.0,rotation")
    assert [item.name for item in found] == ["shift 3 px", "elastic 2.5 px", "rotation 1 deg", "rotation 2 deg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("elastc:2", r"misalign: there is no kind 'elastc'; did you mean 'elastic'\?"),
        ("homography", "known names: .*affine.*shift"),
        ("", "there is no kind ''"),
        ("shift:3,,elastic", "there is no kind ''"),
        ("shift:far", "shift: expected a number of px, such as shift:3, got 'far'"),
        ("shift:", "expected a number"),
        ("rotation:40", "rotation: expected a level from 0 to 15 deg, got 40.0; for example rotation:1"),
        ("shift:-3", "from 0 to 64 px"),
        ("shift:nan", "from 0 to 64 px"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_way_out(text, message):
    with pytest.raises(SettingsError, match=message):
        parse_misalignments(text)


def test_a_misalignment_of_an_unknown_kind_cannot_be_made():
    with pytest.raises(SettingsError, match="did you mean 'shift'"):
        Misalignment("shfit", 3)


@pytest.mark.parametrize(
    ("misalignment", "pixels", "message"),
    [
        (("scale", 2), np.zeros((1, 640), np.uint8), "at least 8 x 8 pixels, got 640 x 1"),
        (("shift", 8), np.zeros((60, 80), np.uint8), "at most 7.5 px.*80 x 60 pixels; lower the level"),
        (("shift", 3), np.zeros((60, 80), np.int32), "uint8, uint16 or float32.*int32"),
        (("shift", 3), np.zeros((60, 80), ">u2"), "uint8, uint16 or float32.*>u2"),
        (("shift", 3), np.zeros((60, 80, 5), np.uint8), "at most 4 channels"),
        (("noise", 3), np.zeros((60, 80, 5), np.uint8), "at most 4 channels"),
    ],
)
def test_images_that_cannot_be_deformed_are_refused(misalignment, pixels, message):
    with pytest.raises(ImageError, match=message):
        Misalignment(*misalignment).apply(pixels, seed=1)
