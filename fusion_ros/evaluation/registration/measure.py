"""How far an aligner is off, where the truth is known: the thermal image is deformed, and the deformation known.

**The known part.** Two cameras' images that are called aligned are pixels apart themselves, so what an aligner
finds on a deformed pair is the deformation and that offset together, and a perfect answer would look wrong. So the
aligner is run on the pair as it came, too, and the two answers are composed: the deformed image's pixel that it
takes for a place in the fixed image, followed back through the deformation, has to be the pixel that it took for
that place before::

    known part error at p = | (p + flow(p)) + field(p + flow(p)) - (p + undeformed_flow(p)) |

**The label error** holds the same answer against the pair as it was labelled::

    label error at p = | flow(p) + field(p + flow(p)) |

**Of a rendered pair** the true flow itself is known (:mod:`.parallax`), and is what the answer has to be::

    known part error at p = | flow(p) - true_flow(p) |

Conventions are those of :mod:`fusion_ros.synthetic.misalign`: ``deformed(q) = original(q + field(q))``, flows on
the fixed image's grid and into the moving one. Errors are averaged over the pixels whose true counterpart lies in
the deformed image. That is the deformation's doing alone: all aligners are compared over the same pixels, and none
gains by pointing out of the image. (The field beyond its border is taken to be as at the border.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...alignment.belief import Verdict, judged
from ...alignment.estimate import Estimate
from ...alignment.fine import FineSettings
from ...errors import FusionError
from ...frame import Frame, FramePair
from ...geometry.warp import flow_positions, valid_mask, warp_by_flow
from ...imaging import luma
from ...metrics import Column
from ...synthetic.misalign import inverse_field
from ..conditions import Condition, Conditioner
from ..results import AS_RECORDED
from .aligners import Aligner, Answer
from .parallax import Parallax, ParallaxRecord, places_of, records_of
from .quality import TRUTH, QualityRecord, Undeformed, qualities
from .results import AlignmentRecord

__all__ = [
    "Case",
    "PairImages",
    "deformed",
    "known_part_error",
    "label_error",
    "measure_pair",
    "recorded",
    "rendered",
]

_USUAL = FineSettings()
_DECIMALS = 4  # of a pixel: beyond them the number of threads may decide


@dataclass(frozen=True, eq=False)
class PairImages:
    """A pair on the RGB image's pixel grid.

    Attributes:
        source: Name of the recording.
        frame: Name of the pair, unique in its recording.
        thermal: ``(H, W)`` uint8, brought onto the grid by the coarse alignment.
        rgb: ``(H, W, 3)`` or ``(H, W)`` uint8.
        valid: ``(H, W)`` bool, False where the thermal camera sees nothing; None where it sees everything.
        condition: What a rendered pair shows, such as ``night``.
        parallax: The truth of a rendered pair; None where nobody knows it.
    """

    source: str
    frame: str
    thermal: np.ndarray
    rgb: np.ndarray
    valid: np.ndarray | None = None
    condition: str = AS_RECORDED
    parallax: Parallax | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A pair as the aligners see it, with the truth.

    Attributes:
        condition: Its name.
        moving: ``(H, W)`` float32 in [0, 1].
        fixed: Likewise.
        valid: As of :class:`PairImages`.
        field: ``(H, W, 2)`` float32, the deformation; zero where nothing was done.
        wanted: ``(H, W, 2)`` float32, the flow that undoes the field, or the true one of a rendered pair.
        compared: ``(H, W)`` bool: where errors are taken.
    """

    condition: str
    moving: np.ndarray
    fixed: np.ndarray
    valid: np.ndarray | None
    field: np.ndarray
    wanted: np.ndarray
    compared: np.ndarray


def recorded(images: PairImages) -> Case:
    """Return the pair as it came."""
    nothing = np.zeros((*images.thermal.shape, 2), np.float32)
    everywhere = np.ones(images.thermal.shape, bool) if images.valid is None else images.valid
    return Case(AS_RECORDED, luma(images.thermal), luma(images.rgb), images.valid, nothing, nothing, everywhere)


def rendered(images: PairImages) -> Case:
    """Return a rendered pair: errors are taken where both cameras see the same."""
    truth = images.parallax
    assert truth is not None
    plain = recorded(images)
    return replace(plain, condition=images.condition, wanted=truth.flow, compared=truth.seen)


def deformed(images: PairImages, condition: Condition, seed: int) -> Case:
    """Return the pair with its thermal image deformed; what is random depends on the names and the seed alone.

    Raises:
        ImageError: The image is too small for the deformation.
        AlignmentError: The deformation cannot be inverted.
    """
    alter = Conditioner(condition, images.source, is_sequence=False, seed=seed)
    pair = FramePair(Frame(images.rgb, 0), Frame(images.thermal, 0))
    altered = alter(pair, images.frame, 0)
    wanted = inverse_field(altered.field)
    compared = valid_mask(*flow_positions(wanted), images.thermal.shape)
    valid = images.valid
    if valid is not None:
        # The black frame moved with the image, and within the frame as it was nothing is seen either.
        moved = _mask_at(valid, altered.field)
        compared &= valid & _mask_at(moved, wanted)
        valid = valid & moved
    moving, fixed = luma(altered.pair.thermal.pixels), luma(images.rgb)
    return Case(condition.name, moving, fixed, valid, altered.field, wanted, compared)


def known_part_error(case: Case, flow: np.ndarray, undeformed_flow: np.ndarray) -> float:
    """Return the mean known part error, px, as the module says; NaN where no pixel can be compared."""
    return _mean_length(_remaining(case, flow) - undeformed_flow, case.compared)


def label_error(case: Case, flow: np.ndarray) -> float:
    """Return the mean distance from where the pair's own label puts the pixels, px; NaN as above."""
    return _mean_length(_remaining(case, flow), case.compared)


def measure_pair(
    images: PairImages,
    aligners: Sequence[Aligner],
    conditions: Sequence[Condition],
    seed: int = 0,
    columns: Sequence[Column] = (),
) -> Iterator[AlignmentRecord | ParallaxRecord | QualityRecord | str]:
    """Yield what every aligner is worth on one pair, as recorded and under every condition; problems as texts.

    On the pair as recorded the known part is what the aligner adds: the mean length of what it finds once more,
    on its own result. A rendered pair is measured against its truth instead, and by distance.

    Args:
        conditions: Misalignments.
        seed: Of whatever is random.
        columns: Metrics of the fused image of each deformed pair.
    """
    if images.parallax is not None:
        yield from _measured_parallax(images, images.parallax, aligners)
        return
    cases = []
    for condition in conditions:
        try:
            cases.append(deformed(images, condition, seed))
        except FusionError as error:
            yield f"{images.source}, {images.frame}, {condition.name}: {error}"
    plain = recorded(images)
    if columns:
        undeformed = Undeformed.of(plain.moving, plain.fixed, plain.compared)
        yield from _quality_records(images, TRUTH, cases, [case.wanted for case in cases], undeformed, columns)
    for aligner in aligners:
        first = aligner(plain.moving, plain.fixed, plain.valid)
        moved = warp_by_flow(plain.moving, first.flow)
        valid = None if plain.valid is None else plain.valid & _mask_at(plain.valid, first.flow)
        again = aligner(moved, plain.fixed, valid)
        is_believed = _is_believed(replace(plain, moving=moved, valid=valid), again)
        yield _record(images, aligner, plain, first, _mean_length(again.flow, plain.compared), is_believed)
        answers = [aligner(case.moving, case.fixed, case.valid) for case in cases]
        for case, answer in zip(cases, answers, strict=True):
            known = known_part_error(case, answer.flow, first.flow)
            yield _record(images, aligner, case, answer, known, _is_believed(case, answer))
        if columns:
            laid = _laid(plain.moving, first.flow)
            undeformed = Undeformed.of(laid, plain.fixed, _seen_at(first.flow, valid))
            flows = [answer.flow for answer in answers]
            yield from _quality_records(images, aligner.name, cases, flows, undeformed, columns)
        for case, answer in zip([plain, plain, *cases], [first, again, *answers], strict=True):
            if answer.problem:
                yield _problem(images, aligner, case, answer)


def _quality_records(
    images: PairImages,
    aligner: str,
    cases: Sequence[Case],
    flows: Sequence[np.ndarray],
    undeformed: Undeformed,
    columns: Sequence[Column],
) -> Iterator[QualityRecord]:
    names = {"source": images.source, "frame": images.frame, "aligner": aligner}
    for case, flow in zip(cases, flows, strict=True):
        aligned = _laid(case.moving, flow)
        yield from qualities(aligned, undeformed, case.compared, columns, {**names, "condition": case.condition})


def _measured_parallax(
    images: PairImages, truth: Parallax, aligners: Sequence[Aligner]
) -> Iterator[AlignmentRecord | ParallaxRecord | str]:
    case = rendered(images)
    places = places_of(truth, case.moving, case.fixed)
    names = {"source": images.source, "frame": images.frame, "condition": case.condition}
    for aligner in aligners:
        answer = aligner(case.moving, case.fixed, case.valid)
        known = known_part_error(case, answer.flow, case.wanted)
        yield _record(images, aligner, case, answer, known, _is_believed(case, answer))
        yield from records_of(truth, places, answer.flow, aligner=aligner.name, **names)
        if answer.problem:
            yield _problem(images, aligner, case, answer)


def _problem(images: PairImages, aligner: Aligner, case: Case, answer: Answer) -> str:
    return f"{images.source}, {images.frame}, {aligner.name}, {case.condition}: {answer.problem}"


def _record(
    images: PairImages, aligner: Aligner, case: Case, answer: Answer, known: float, is_believed: bool
) -> AlignmentRecord:
    nothing = case.field if images.parallax is None else case.wanted
    return AlignmentRecord(
        source=images.source,
        frame=images.frame,
        aligner=aligner.name,
        condition=case.condition,
        known_px=round(known, _DECIMALS),
        label_px=round(label_error(case, answer.flow), _DECIMALS),
        nothing_px=round(_mean_length(nothing, case.compared), _DECIMALS),
        compared=round(float(case.compared.mean()), _DECIMALS),
        confidence=round(answer.confidence, _DECIMALS),
        is_believed=is_believed,
        has_failed=answer.has_failed,
        ms=answer.ms,
    )


def _is_believed(case: Case, answer: Answer) -> bool:
    estimate, images = Estimate(answer.flow, answer.confidence), (case.moving, case.fixed, case.valid)
    belief = judged(estimate, None, *images, gate=_USUAL.gate, search_px=_USUAL.search_px)
    return belief.verdict is Verdict.BELIEVED


def _remaining(case: Case, flow: np.ndarray) -> np.ndarray:
    """Return how far each pixel's counterpart in the undeformed image is from the pixel: ``(H, W, 2)``."""
    # One by one: OpenCV 5 samples a single channel exactly, two at 1/32 px.
    there = [warp_by_flow(np.ascontiguousarray(case.field[..., axis]), flow) for axis in range(2)]
    return flow + np.dstack(there)


def _mean_length(flow: np.ndarray, where: np.ndarray) -> float:
    if not where.any():
        return float("nan")
    return float(np.hypot(flow[..., 0], flow[..., 1])[where].mean(dtype=np.float64))


def _laid(moving: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return an image moved by a flow as it is for use."""
    return warp_by_flow(moving, flow, _USUAL.interpolation).clip(0.0, 1.0)


def _seen_at(flow: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Return where a flow points into the image, and to what is valid."""
    inside = valid_mask(*flow_positions(flow), flow.shape[:2])
    return inside if valid is None else inside & valid


def _mask_at(mask: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return a mask where a flow points, beyond the image as at its border: False also beside what is False."""
    positions = flow_positions(flow)
    return (
        cv2.remap(mask.astype(np.float32), *positions, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) > 0.999
    )
