"""The aligners that can be measured: a table of those without weights, and any model that gives a flow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ...alignment.estimate import Estimator
from ...alignment.learned import ASKED_ONCE, LearnedEstimator
from ...alignment.structural import StructuralEstimator, StructuralSettings
from ...engines import EngineSettings, open_engine
from ...errors import AlignmentError, ImageError, SettingsError, nearest_name
from ...spec import Gives
from ...weights import find_model, load_network, model_names, verify
from ..recording import timed
from .baselines import EnhancedCorrelation, FeatureMatching, NoAlignment, PhaseCorrelation

if TYPE_CHECKING:
    from ...networks import FusionNetwork

__all__ = ["ALIGNERS", "Aligner", "AlignerKind", "Answer", "open_aligner"]

Size = tuple[int, int]
_PLAIN = "plain:"


@dataclass(frozen=True)
class AlignerKind:
    """An aligner without weights.

    Attributes:
        name: As it is asked for.
        help: What it is, one line.
        make: Makes it.
    """

    name: str
    help: str
    make: Callable[[], Estimator]


def _structural(model: str | None) -> Estimator:
    return StructuralEstimator(StructuralSettings() if model is None else StructuralSettings(model=model))


_KINDS = (
    AlignerKind("none", "the image is left where it is", NoAlignment),
    AlignerKind("phase_correlation", "one shift: cv2.phaseCorrelate on luma, Hann window", PhaseCorrelation),
    AlignerKind(
        "ecc_translation",
        "one shift: cv2.findTransformECC on gradient magnitudes, three scales",
        lambda: EnhancedCorrelation("translation"),
    ),
    AlignerKind(
        "ecc_affine",
        "one affine map: cv2.findTransformECC on gradient magnitudes, three scales",
        lambda: EnhancedCorrelation("affine"),
    ),
    AlignerKind("features", "one homography: SIFT of gradient magnitudes, ratio test, RANSAC", FeatureMatching),
    AlignerKind("structural", "structural descriptors, with their usual settings", lambda: _structural(None)),
    *(
        AlignerKind(
            f"structural:{model}",
            f"structural descriptors, one {model}",
            lambda model=model: _structural(model),
        )
        for model in ("translation", "similarity", "affine", "homography")
    ),
)
ALIGNERS: Mapping[str, AlignerKind] = MappingProxyType({kind.name: kind for kind in _KINDS})
"""Every aligner without weights by name."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What an aligner said of one pair.

    Attributes:
        flow: ``(H, W, 2)`` float32 as in :class:`~fusion_ros.alignment.estimate.Estimate`; zero after a failure
            that left none to be used.
        confidence: 0 to 1.
        ms: Milliseconds of the call; NaN where it broke off.
        problem: Why there is no usable flow; empty where there is one.
    """

    flow: np.ndarray
    confidence: float
    ms: float
    problem: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether nothing was found: the aligner says so itself, or its flow cannot be used."""
        return self.confidence <= 0.0


@dataclass(eq=False)
class Aligner:
    """An estimator under the name that it was asked for, timed.

    Attributes:
        description: What it is, and what runs it.
        weights_sha256: Hash of its weights; empty without weights.
    """

    name: str
    estimator: Estimator
    description: str = ""
    weights_sha256: str = ""
    _warm: set[Size] = field(default_factory=set)

    def __call__(self, moving: np.ndarray, fixed: np.ndarray, valid: np.ndarray | None = None) -> Answer:
        """Estimate; the first pair of each size is estimated twice, since what is prepared then is no one's time.

        A flow that cannot be used is a failure, so that nobody gains by not answering.
        """
        zero = np.zeros((*fixed.shape, 2), np.float32)
        try:
            # Copies: no aligner gains, or loses, by what another did to the images.
            moving, fixed = moving.copy(), fixed.copy()
            if fixed.shape not in self._warm:
                self.estimator(moving.copy(), fixed.copy(), valid=valid)
                self._warm.add(fixed.shape)
            estimate, milliseconds = timed(lambda: self.estimator(moving, fixed, valid=valid))
        except (AlignmentError, ImageError) as error:
            return Answer(zero, 0.0, math.nan, str(error))
        flow = estimate.flow
        if flow.shape != zero.shape or not np.isfinite(flow).all():
            problem = f"expected a finite flow of shape {zero.shape}, got shape {flow.shape} or NaN in it"
            return Answer(zero, 0.0, milliseconds, problem)
        return Answer(flow, float(estimate.confidence), milliseconds)


def open_aligner(name: str, engine: EngineSettings | None = None) -> Aligner:
    """Return an aligner that is ready to run.

    Args:
        name: One of :data:`ALIGNERS`, or the name or path of a model whose network gives a flow, or holds one that
            does, as ReCoNet does. With ``plain:`` before it the network is asked once and that is the answer;
            without, it is asked as the pipeline asks it.
        engine: What runs a network.

    Raises:
        SettingsError: There is no such aligner, or the model gives no flow.
        WeightsError: The model is damaged, or its weights are not installed.
        EngineError: The engine asked for is not installed or has no device.
    """
    if name in ALIGNERS:
        kind = ALIGNERS[name]
        return Aligner(name, kind.make(), kind.help)
    from ...networks import NETWORKS

    known = {*ALIGNERS, *model_names(), *NETWORKS}
    asked, name = name, name.removeprefix(_PLAIN)
    is_path = os.sep in name or name.startswith((".", "~"))
    if not is_path and name not in known:
        raise SettingsError(f"align: there is no aligner {name!r}; {nearest_name(name, known)}")
    card = verify(find_model(name))
    network = _flow_network(name)
    opened = open_engine(network, engine or EngineSettings())
    estimator = LearnedEstimator(opened, ASKED_ONCE if asked != name else None)
    return Aligner(asked, estimator, opened.description, card.sha256)


def _flow_network(model: str) -> FusionNetwork:
    """Return the network of a model that takes the moving and the fixed image and gives a flow."""
    from ...networks import ReCoNet

    network = load_network(model)
    if isinstance(network, ReCoNet):
        return network.register  # takes the moving image first, whichever camera's it is
    if network.spec.gives is Gives.FLOW:
        return network
    raise SettingsError(
        f"align: expected a model that gives a flow, {model} ({network.spec.title}) gives "
        f"{network.spec.gives.value}; known without weights: {', '.join(ALIGNERS)}"
    )
