"""Learned alignment: how a network is asked, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy import ndimage

from fusion_ros.alignment import learned
from fusion_ros.alignment.aligner import Aligner, AlignmentSettings
from fusion_ros.alignment.fine import FineSettings
from fusion_ros.alignment.learned import ASKED_ONCE, LearnedEstimator, LearnedSettings, composed, resized_flow
from fusion_ros.alignment.structural import StructuralEstimator
from fusion_ros.errors import EngineError, ImageError, SettingsError
from fusion_ros.frame import Sensor
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.spec import Gives, NetworkSpec

SIZE = (96, 128)
FLOW = NetworkSpec(name="stub", title="stub register", source="", gives=Gives.FLOW)
Answering = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Stub:
    """An engine that answers with a flow ``(h, w, 2)`` made by a function, and remembers what it was asked."""

    def __init__(self, answering: Answering, spec: NetworkSpec = FLOW) -> None:
        self.spec, self.answering = spec, answering
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        assert moving.shape == fixed.shape and moving.shape[:2] == (1, 1)
        assert moving.dtype == fixed.dtype == np.float32
        self.seen.append((moving[0, 0].copy(), fixed[0, 0].copy()))
        flow = self.answering(moving[0, 0], fixed[0, 0])
        return np.ascontiguousarray(flow.transpose(2, 0, 1))[None].astype(np.float32)


def constant(x: float, y: float) -> Answering:
    return lambda moving, fixed: np.full((*fixed.shape, 2), (x, y), np.float32)


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    rough = np.random.default_rng(seed).normal(0.5, 1.0, size).astype(np.float32)
    return np.clip(0.5 + 2 * (cv2.GaussianBlur(rough, (0, 0), 2.0) - 0.5), 0, 1)


def by_scipy(rest: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """``rest(p) + flow(p + rest(p))``, by another library."""
    y, x = np.mgrid[: rest.shape[0], : rest.shape[1]].astype(np.float64)
    places = [y + rest[..., 1], x + rest[..., 0]]
    there = [ndimage.map_coordinates(flow[..., axis], places, order=1, mode="nearest") for axis in range(2)]
    return rest + np.dstack(there)


def smooth_field(amplitude: float) -> np.ndarray:
    """A field of one wave over the image in each direction."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    down, across = 2 * np.pi * y / SIZE[0], 2 * np.pi * x / SIZE[1]
    return amplitude * np.dstack([np.sin(down) * np.cos(across), np.cos(down + 1) * np.sin(across)])


def affine_field() -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    x, y = x - SIZE[1] / 2, y - SIZE[0] / 2
    return np.dstack([3 + 0.02 * x - 0.015 * y, -2 + 0.01 * x + 0.02 * y])


class Knowing(Stub):
    """A network that knows what remains of a true flow, however far the images were moved before it is asked.

    Args:
        share: Of what remains, how much it tells: networks see less than there is.
    """

    def __init__(self, truth: np.ndarray, monkeypatch: pytest.MonkeyPatch, share: float = 1.0) -> None:
        super().__init__(self._remaining)
        self.truth, self.share = truth, share
        self.moved_by = np.zeros_like(truth)

        def noted(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
            self.moved_by = flow
            return warp_by_flow(image, flow)

        monkeypatch.setattr(learned, "warp_by_flow", noted)

    def _remaining(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        truth = resized_flow(self.truth.astype(np.float32), fixed.shape)
        rest = truth - self.moved_by
        for _ in range(30):  # rest(p) + moved_by(p + rest(p)) = truth(p)
            rest = rest + truth - by_scipy(rest, self.moved_by)
        return self.share * rest


def error(flow: np.ndarray, truth: np.ndarray, border: int = 8) -> float:
    return float(np.linalg.norm(flow - truth, axis=-1)[border:-border, border:-border].max())


def estimator(engine: Stub, **settings: object) -> LearnedEstimator:
    return LearnedEstimator(engine, LearnedSettings(**{"begin": False, **settings}))


def test_what_a_network_says_of_the_rest_adds_up_to_the_truth(monkeypatch):
    truth = affine_field() + smooth_field(1.5)
    engine = Knowing(truth, monkeypatch)
    found = estimator(engine, smoothing_px=4.0, motion_rounds=4, local_rounds=4)(texture(0), texture(1))
    assert found.flow.shape == (*SIZE, 2) and found.flow.dtype == np.float32
    assert error(found.flow, truth) < 0.25
    half, whole = (SIZE[0] // 2, SIZE[1] // 2), SIZE
    assert [image.shape for image, _ in engine.seen] == 3 * [half] + 5 * [whole]


def test_a_network_that_sees_half_of_what_remains_still_leads_there(monkeypatch):
    truth = affine_field()
    errors = [
        error(
            estimator(Knowing(truth, monkeypatch, share=0.5), motion_rounds=rounds, local_rounds=0)(
                texture(0), texture(1)
            ).flow,
            truth,
        )
        for rounds in (1, 2, 4, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_a_motion_of_the_whole_image_is_found_though_the_network_is_wrong_at_every_third_place(monkeypatch):
    truth = affine_field()
    knowing = Knowing(truth, monkeypatch)
    rng = np.random.default_rng(4)

    def often_wrong(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        is_wrong = rng.random(SIZE) < 1 / 3
        return np.where(is_wrong[..., None], rng.uniform(-16, 16, (*SIZE, 2)), knowing._remaining(moving, fixed))

    engine = Stub(often_wrong)
    start = np.broadcast_to(np.float32([3, -2]), (*SIZE, 2)).copy()
    estimate = estimator(engine, motion="affine", local_rounds=0)
    for _ in range(5):
        start = estimate(texture(0), texture(1), start=start).flow
    assert error(start, truth) < 0.3


def test_the_network_is_shown_the_image_as_moved_so_far_and_the_fixed_one_as_it_is():
    engine = Stub(constant(2, -1))
    moving, fixed = texture(0), texture(1)
    estimator(engine, motion="translation", motion_rounds=1, local_rounds=2)(moving, fixed)
    for asked, (shown, reference) in enumerate(engine.seen):
        np.testing.assert_array_equal(reference, fixed)
        x, y = 2 * asked, asked
        np.testing.assert_allclose(shown[y:, : SIZE[1] - x], moving[: SIZE[0] - y, x:], atol=1e-3)


def test_asked_once_a_network_gives_its_own_answer():
    engine = Stub(constant(3, -2))
    moving, fixed = texture(0), texture(1)
    found = LearnedEstimator(engine, ASKED_ONCE)(moving, fixed)
    np.testing.assert_array_equal(found.flow, np.broadcast_to(np.float32([3, -2]), (*SIZE, 2)))
    ((shown, reference),) = engine.seen
    np.testing.assert_array_equal(shown, moving)
    np.testing.assert_array_equal(reference, fixed)


def test_local_detail_is_kept_when_nothing_is_smoothed_and_averaged_when_it_is():
    waves = smooth_field(2.0)
    plain = LearnedEstimator(Stub(lambda moving, fixed: waves), ASKED_ONCE)(texture(0), texture(1)).flow
    np.testing.assert_allclose(plain, waves, atol=1e-5)
    smooth = estimator(Stub(lambda moving, fixed: waves), motion_rounds=0, local_rounds=1, smoothing_px=100.0)
    assert np.abs(smooth(texture(0), texture(1)).flow).max() < 0.5


@pytest.mark.parametrize(("size", "side", "asked_with"), [
    ((50, 70), 512, (48, 72)), ((480, 640), 320, (240, 320)),
    ((7, 200), 512, (32, 200)), ((600, 3), 128, (128, 32)),
])  # fmt: skip
def test_any_size_is_brought_to_what_the_network_takes_and_back(size, side, asked_with):
    engine = Stub(constant(4, 2))
    found = estimator(engine, side=side, motion_rounds=0, local_rounds=1)(texture(0, size), texture(1, size))
    assert engine.seen[0][0].shape == asked_with
    expected = 4 * size[1] / asked_with[1], 2 * size[0] / asked_with[0]
    np.testing.assert_allclose(found.flow, np.broadcast_to(np.float32(expected), (*size, 2)), rtol=1e-4)


def test_the_whole_reach_comes_from_the_structural_beginning():
    whole = texture(2, (140, 180))
    moving, fixed = whole[20:116, 20:148].copy(), whole[32:128, 30:158].copy()  # moving(p + (10, 12)) = fixed(p)
    begun = LearnedEstimator(Stub(constant(0, 0)))(moving, fixed)
    assert error(begun.flow, np.array([10, 12])) < 0.2
    assert begun.confidence > 0.5
    np.testing.assert_allclose(begun.flow, StructuralEstimator()(moving, fixed).flow, atol=0.05)
    alone = estimator(Stub(constant(0, 0)))(moving, fixed)
    assert not alone.flow.any() and alone.confidence < 0.3


def test_the_reach_can_be_changed_live_on_the_same_engine():
    whole = texture(2, (140, 180))
    moving, fixed = whole[20:116, 20:148].copy(), whole[32:128, 30:158].copy()  # moving(p + (10, 12)) = fixed(p)
    settings = AlignmentSettings(fine=FineSettings(method="stub", search_px=4.0))
    opened = LearnedEstimator(Stub(constant(0, 0)), LearnedSettings(search_px=4.0, side=256))
    near = Aligner(settings, Sensor.RGB, opened)
    far = near.reconfigured(settings.updated({"fine.search_px": 16.0}))
    assert error(near.estimator(moving, fixed).flow, np.array([10, 12])) > 4
    assert error(far.estimator(moving, fixed).flow, np.array([10, 12])) < 0.2
    assert far.estimator.engine is opened.engine
    assert far.estimator.settings.side == 256


def test_a_start_is_begun_with_and_shortens_the_work():
    engine = Stub(constant(0, 0))
    estimate = LearnedEstimator(engine, LearnedSettings(motion_rounds=4, local_rounds=3))
    moving, fixed = texture(0), texture(1)
    estimate(moving, fixed)
    assert len(engine.seen) == 4 + 3
    engine.seen.clear()
    local = smooth_field(1.5)
    start = (affine_field() + local).astype(np.float32)
    before = start.copy()
    found = estimate(moving, fixed, start=start)
    assert len(engine.seen) == 2
    np.testing.assert_array_equal(start, before)
    # The motion of the whole image stays; what is local in it and no longer seen is half forgotten.
    assert error(estimate(moving, fixed, start=affine_field().astype(np.float32)).flow, affine_field()) < 0.05
    assert error(found.flow, start) < 0.6 * error(local, np.zeros(2))
    assert error(found.flow, affine_field()) < 0.7 * error(local, np.zeros(2))
    engine.seen.clear()
    estimator(engine, motion_rounds=0, local_rounds=0)(moving, fixed, start=start)
    assert not engine.seen


def test_blank_images_are_not_believed_and_not_moved():
    blank = np.full(SIZE, 0.5, np.float32)
    found = LearnedEstimator(Stub(constant(0, 0)))(blank, blank)
    assert found.confidence == 0.0 and not found.flow.any()


def test_a_network_that_gives_images_is_refused():
    spec = NetworkSpec(name="fuser", title="some fuser", source="", gives=Gives.IMAGE)
    with pytest.raises(SettingsError, match="a network that gives a flow, some fuser gives image"):
        LearnedEstimator(Stub(constant(0, 0), spec))


def test_what_is_no_pair_of_images_is_refused_before_the_network_is_asked():
    engine = Stub(constant(0, 0))
    with pytest.raises(ImageError, match="one pixel grid"):
        LearnedEstimator(engine)(texture(0), texture(0)[:50].copy())
    with pytest.raises(ImageError, match="moving: expected an array of float32"):
        LearnedEstimator(engine)(texture(0).astype(np.float64), texture(0))
    assert not engine.seen


def test_a_failing_engine_is_told_as_it_is():
    def failing(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        raise EngineError("the accelerator is gone")

    with pytest.raises(EngineError, match="the accelerator is gone"):
        LearnedEstimator(Stub(failing))(texture(0), texture(1))


def test_composing_is_first_the_flow_and_then_the_rest():
    flow, rest = (affine_field() + smooth_field(2.0)).astype(np.float32), smooth_field(3.0).astype(np.float32)
    np.testing.assert_allclose(composed(rest, flow), by_scipy(rest, flow), atol=0.01)
    image = cv2.GaussianBlur(texture(3), (0, 0), 3.0)
    at_once = warp_by_flow(image, composed(rest, flow))
    one_by_one = warp_by_flow(warp_by_flow(image, flow), rest)
    assert np.abs(at_once - one_by_one)[12:-12, 12:-12].max() < 0.01


@pytest.mark.parametrize("size", [(192, 256), (48, 64), (96, 64), (96, 128)], ids=str)
def test_a_resized_flow_moves_resized_images_alike(size):
    across, down = size[1] / SIZE[1], size[0] / SIZE[0]
    resized = resized_flow(affine_field(), size)
    assert resized.shape == (*size, 2) and resized.dtype == np.float32
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    x, y = (x + 0.5) / across - 0.5 - SIZE[1] / 2, (y + 0.5) / down - 0.5 - SIZE[0] / 2
    expected = np.dstack([3 + 0.02 * x - 0.015 * y, -2 + 0.01 * x + 0.02 * y]) * (across, down)
    assert error(resized, expected, border=2) < 1e-3
