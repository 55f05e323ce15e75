"""What a pipeline is opened from: its settings, and the models and engines that they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .alignment.aligner import AlignmentSettings, structural_estimator
from .alignment.estimate import Estimator
from .cards import read_card
from .classical import CLASSICAL
from .engines import Engine, EngineSettings, open_engine
from .engines.classical_engine import ClassicalEngine
from .errors import SettingsError, WeightsError
from .features import FeatureExtractor, FeatureSettings
from .imaging import RangeSettings, ThermalSettings
from .settings import Settings, parse_assignments, setting
from .spec import Gives
from .weights import find_model, load_network

if TYPE_CHECKING:
    from .networks import FusionNetwork

__all__ = [
    "ALONE",
    "FUSE",
    "NO_MODEL",
    "SAME_MODEL",
    "FusionSettings",
    "OutputSettings",
    "open_estimator",
    "open_features",
    "open_fuser",
]

NO_MODEL = "none"
"""As ``model``: no fused image is offered, and nothing is loaded for one."""

SAME_MODEL = "same"
"""As ``features.model``: the model that fuses the image."""

FUSE, ALONE = "fuse", "alone"
"""As ``repeated``: what becomes of an image that is the one before once more, beside a new one."""


@dataclass(frozen=True)
class OutputSettings(Settings):
    """What the fused image looks like."""

    color: bool = setting(True, "Keep the RGB image's colour; false gives a grey image.")
    scale: float = setting(1.0, "Size of the output relative to the reference image.", bounds=(0.1, 1.0))
    range: RangeSettings = setting(RangeSettings(), "How a stretched range follows a stream.")


@dataclass(frozen=True)
class FusionSettings(Settings):
    """Everything that decides how a pair becomes a fused image and fused features."""

    model: str = setting(
        "reconet",
        "How to fuse: name of a model, path of a model folder, or a method without weights (average, maximum, "
        "laplacian, guided_filter, pca); none offers no fused image.",
        read_only=True,
    )
    network: str = setting(
        "",
        "Settings of the model's network, as name=value separated by commas, such as fusion=l1; "
        "'fusion-ros models show <name> --network' lists them.",
        read_only=True,
    )
    reference: str = setting(
        "rgb",
        "Camera whose pixel grid, stamp and frame the output has; the other image is moved onto it.",
        choices=("rgb", "thermal"),
        read_only=True,
    )
    engine: EngineSettings = setting(EngineSettings(), "What runs the networks.")
    thermal: ThermalSettings = setting(ThermalSettings(), "How thermal values become [0, 1].")
    alignment: AlignmentSettings = setting(AlignmentSettings(), "How the moving image reaches the reference grid.")
    repeated: str = setting(
        FUSE,
        "What becomes of a frame whose image is bit for bit the one before while the other camera's is new (a "
        "thermal camera whose shutter is closed for calibration, a driver that fills up its rate): fuse takes it "
        "as it is; alone lets the other image stand for both, as if this camera had stopped.",
        choices=(FUSE, ALONE),
    )
    output: OutputSettings = setting(OutputSettings(), "What the fused image looks like.")
    features: FeatureSettings = setting(FeatureSettings(), "Which feature maps are offered.")

    @property
    def models(self) -> tuple[str, ...]:
        """What fuses the image and what gives the features, each once."""
        named = dict.fromkeys((self.model, self.features.model))
        return tuple(name for name in named if name not in (NO_MODEL, SAME_MODEL, ""))


def open_fuser(settings: FusionSettings) -> Engine | None:
    """Return the engine that fuses images; None where the settings want no fused image.

    Raises:
        WeightsError: The model is unknown, or its weights are damaged or foreign.
        EngineError: The engine asked for is not installed or has no device.
        SettingsError: The network has no such setting, or gives no image.
    """
    options = parse_assignments(settings.network)
    if settings.model in (NO_MODEL, *CLASSICAL) and options:
        raise SettingsError(f"network: {settings.model} has no settings, got {settings.network!r}")
    if settings.model == NO_MODEL:
        return None
    if settings.model in CLASSICAL:
        return ClassicalEngine(settings.model)
    network = load_network(settings.model, options)
    if network.spec.gives is not Gives.IMAGE:
        raise SettingsError(
            f"model: expected one that gives an image, {settings.model} ({network.spec.title}) gives "
            f"{network.spec.gives.value}"
        )
    return open_engine(network, settings.engine)


def open_estimator(settings: FusionSettings) -> tuple[Estimator | None, Engine | None]:
    """Return what finds the fine alignment, and the engine that runs it, as far as there are any.

    Raises:
        WeightsError, EngineError: As for :func:`open_fuser`.
        SettingsError: The model gives no flow.
    """
    method = settings.alignment.fine.method
    if method == "none":
        return None, None
    if method == "structural":
        return structural_estimator(settings.alignment.fine), None
    try:
        network = load_network(method)
    except WeightsError as error:
        raise WeightsError(f"alignment.fine.method, neither none nor structural: {error}") from error
    if network.spec.gives is not Gives.FLOW:
        raise SettingsError(
            f"alignment.fine.method: expected none, structural or a model that gives a flow, {method} "
            f"({network.spec.title}) gives {network.spec.gives.value}"
        )
    from .alignment.learned import LearnedEstimator, LearnedSettings

    engine = open_engine(network, settings.engine)
    return LearnedEstimator(engine, LearnedSettings(search_px=settings.alignment.fine.search_px)), engine


def open_features(settings: FusionSettings) -> FeatureExtractor | None:
    """Return what gives the feature maps; None where the settings want none.

    Raises:
        WeightsError, EngineError: As for :func:`open_fuser`.
        SettingsError: The network has no such setting, no feature maps, or not the layers asked for.
    """
    wanted = settings.features
    if not wanted.model:
        if wanted.network or wanted.layers:
            raise SettingsError(
                f"features: expected a model, got none with network {wanted.network!r} and layers "
                f"{wanted.layers!r}; set features.model"
            )
        return None
    is_same = wanted.model == SAME_MODEL
    model = settings.model if is_same else wanted.model
    network = _network_with_maps(model, settings.network if is_same else "", wanted.network)
    from .networks.tapped import Tapped

    try:
        tapped = Tapped(network, wanted.layer_names)
    except SettingsError as error:
        raise SettingsError(f"features.layers: {error}") from error
    engine = open_engine(tapped, settings.engine)
    card = read_card(find_model(model))
    # The engine has weights of its own; of this network only shapes are asked from here on.
    return FeatureExtractor(engine, tapped.to("meta"), settings.output.range, card.name, card.sha256)


def _network_with_maps(model: str, *assignments: str) -> FusionNetwork:
    """Load the network of ``features.model``; of settings given twice the later ones win."""
    if model in (NO_MODEL, *CLASSICAL):
        raise SettingsError(
            f"features.model: expected a model with a network, {model!r} has none; set it to a model such as "
            "fused_features or rfn_nest"
        )
    options = {name: value for text in assignments for name, value in parse_assignments(text).items()}
    try:
        network = load_network(model, options)
    except (WeightsError, SettingsError) as error:
        raise type(error)(f"features.model: {error}") from error
    if not network.feature_maps():
        raise SettingsError(
            f"features.model: expected a model whose network offers feature maps, {model} "
            f"({network.spec.title}) offers none; docs/features.md lists those that do"
        )
    return network
