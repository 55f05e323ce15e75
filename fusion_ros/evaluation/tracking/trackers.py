"""The trackers that are compared: what each of them looks at, as a text and as facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ...errors import SettingsError, nearest_name
from ...pipeline import FusionSettings
from ...pipeline_opening import ALONE, FUSE
from ...settings import setting_of

__all__ = [
    "DEFAULT_MODEL",
    "LAYERS",
    "FeatureKey",
    "TrackerFacts",
    "TrackingFusionSettings",
    "feature_settings",
    "parse_trackers",
    "repeated_for",
]

DEFAULT_MODEL = "fused_features"
"""The model whose features a tracker follows, unless another is named."""
LAYERS: Mapping[str, str] = MappingProxyType({"fused": "fused", "rgb": "visible", "thermal": "infrared"})
"""What a tracker looks at, and the feature map of the model that it is found in."""
_NO_ALIGNMENT = "none"
_FORM = "label=modality:model:network settings, such as rgb, thermal, or sum=fused:fused_features:fusion=sum"


@dataclass(frozen=True)
class TrackingFusionSettings(FusionSettings):
    """How a pair becomes the features that trackers follow: as for a picture, but for the default below."""

    repeated: str = setting_of(FusionSettings, "repeated", ALONE)


@dataclass(frozen=True)
class FeatureKey:
    """What computes features; trackers that agree in it share them.

    Attributes:
        model: Name or path.
        network: Settings of its network.
        alignment: What finds the fine alignment.
        repeated: What becomes of an image that its camera repeats.
    """

    model: str
    network: str
    alignment: str
    repeated: str


@dataclass(frozen=True)
class TrackerFacts:
    """A tracker that is compared. The filter is the same for all; what differs is what it looks at.

    Attributes:
        name: Unique.
        modality: One of :data:`LAYERS`.
        model: Name or path of the model whose features it follows.
        network: Settings of that model's network.
        alignment: What finds the fine alignment: none, structural, or a model.
        repeated: What becomes of an image that its camera repeats: fuse or alone.
        description: Model and engine.
        weights_sha256: Hash of the weights; empty without weights.
    """

    name: str
    modality: str
    model: str = DEFAULT_MODEL
    network: str = ""
    alignment: str = _NO_ALIGNMENT
    repeated: str = FUSE
    description: str = ""
    weights_sha256: str = ""

    @property
    def layer(self) -> str:
        """The feature map that it follows."""
        return LAYERS[self.modality]

    @property
    def features(self) -> FeatureKey:
        """What computes its features."""
        return FeatureKey(self.model, self.network, self.alignment, self.repeated)

    @property
    def sees_thermal(self) -> bool:
        """Whether an alignment changes what it sees: the RGB image is the one that stays where it is."""
        return self.modality != "rgb"


def parse_trackers(
    texts: Sequence[str], alignments: Sequence[str] = (_NO_ALIGNMENT,), repeated: str = ALONE
) -> tuple[TrackerFacts, ...]:
    """Return the trackers that texts describe, each once for every alignment that changes what it sees.

    Args:
        texts: ``label=modality:model:network settings``; all but the modality may be left out. Without a label the
            rest is the name.
        alignments: What finds the fine alignment. If there are several, all but the first are named in the
            tracker's name.
        repeated: What becomes of an image that its camera repeats, before those that look at both cameras.

    Raises:
        SettingsError: A modality is unknown, or a name is taken twice.
    """
    parsed = map(_parsed, texts)
    plain = [replace(t, alignment=alignments[0], repeated=repeated_for(t.modality, repeated)) for t in parsed]
    for name, number in Counter(tracker.name for tracker in plain).items():
        if number > 1:
            raise SettingsError(f"tracker: {name!r} is named twice; give them labels with label=modality")
    others = (
        replace(tracker, name=f"{tracker.name} + {alignment}", alignment=alignment)
        for alignment in alignments[1:]
        for tracker in plain
        if tracker.sees_thermal
    )
    return (*plain, *others)


def repeated_for(modality: str, wanted: str) -> str:
    """Return what becomes of repeated images: what is wanted, unless one camera alone is to be looked at.

    The other camera's image in the place of that camera's would make it another modality.
    """
    return wanted if modality == "fused" else FUSE


def feature_settings(settings: FusionSettings, key: FeatureKey, layers: Sequence[str]) -> FusionSettings:
    """Return the settings of a pipeline that gives these feature maps and no image."""
    values = {
        "model": "none",
        "network": "",
        "output.scale": 1.0,  # boxes are in pixels of the RGB image
        "features.model": key.model,
        "features.network": key.network,
        "features.layers": ",".join(layers),
        "alignment.fine.method": key.alignment,
        "repeated": key.repeated,
    }
    return settings.updated(values)


def _parsed(text: str) -> TrackerFacts:
    label, given, rest = text.partition("=")
    if not given or ":" in label:  # the sign belongs to a setting of the network
        label, rest = text, text
    modality, _, source = rest.partition(":")
    model, _, network = source.partition(":")
    label = label.strip()
    if modality not in LAYERS:
        raise SettingsError(
            f"tracker {text!r}: there is no modality {modality!r}; {nearest_name(modality, LAYERS)}; expected "
            f"{_FORM}"
        )
    if not label:
        raise SettingsError(f"tracker {text!r}: expected a label before the =, got none; expected {_FORM}")
    return TrackerFacts(label, modality, model or DEFAULT_MODEL, network)
