"""What is to be known beside a message of feature maps: the JSON of ``fused/features/description``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import ImageError, nearest_name
from .quantise import Quantisation

__all__ = ["VERSION", "FeatureDescription", "LayerDescription"]

T = TypeVar("T")

VERSION = 1
"""Of the form of the description; raised where readers of an earlier one would misread it."""

_CELL_CENTRE = "pixel = stride * cell + (stride - 1) / 2 on both axes; pixel and cell centres are whole numbers"


@dataclass(frozen=True)
class LayerDescription:
    """One published layer.

    Attributes:
        name: The network's name of it.
        topic: Full name of the topic that it is published on.
        stride: Pixel pitch of its cells.
        channels: Features of a cell.
        help: What it is, one sentence.
        encoding: That of its messages, such as ``32FC32``.
        image_size: ``(H, W)`` of the image that the cells lie on; None before the first frame.
        quantisation: What the levels of 8-bit messages mean, from when on, in order of stamps.
    """

    name: str
    topic: str
    stride: int
    channels: int
    help: str
    encoding: str
    image_size: tuple[int, int] | None = None
    quantisation: tuple[Quantisation, ...] = ()

    def quantisation_at(self, stamp_ns: int) -> Quantisation:
        """Return what holds for a message of this stamp.

        Raises:
            ImageError: The description knows of nothing that early.
        """
        held = [entry for entry in self.quantisation if entry.from_stamp_ns <= stamp_ns]
        if not held:
            raise ImageError(
                f"layer {self.name}: the description tells no scale for a message of stamp {stamp_ns} ns; take "
                "the newest description, and drop messages from before it"
            )
        return held[-1]


@dataclass(frozen=True)
class FeatureDescription:
    """All that subscribers of feature maps have to know.

    Attributes:
        model: Name of the model.
        network: Name of its network.
        weights_sha256: Checksum of its weights; None where it is not known.
        layers: What is published, the layer on ``fused/features`` first.
    """

    model: str
    network: str
    weights_sha256: str | None
    layers: tuple[LayerDescription, ...]

    def layer(self, name: str = "") -> LayerDescription:
        """Return a layer by its name or its topic; the first one where neither is given.

        Raises:
            ImageError: There is no such layer; the nearest one is given.
        """
        if not name:
            return self.layers[0]
        for layer in self.layers:
            if name in (layer.name, layer.topic):
                return layer
        known = [layer.name for layer in self.layers]
        raise ImageError(f"the description has no layer {name!r}; {nearest_name(name, known)}")

    def to_json(self) -> str:
        """Return the text of the message."""
        content: dict[str, Any] = {"version": VERSION, **dataclasses.asdict(self)}
        for layer in content["layers"]:
            size = layer["image_size"]
            layer["image_size"] = None if size is None else {"height": size[0], "width": size[1]}
            layer["cell_centre"] = _CELL_CENTRE
        return json.dumps(content)

    @classmethod
    def from_json(cls, text: str) -> FeatureDescription:
        """Read the text of a message; fields that are not known here are passed over.

        Raises:
            ImageError: It is no description of feature maps, or of a version that is not known here.
        """
        try:
            content = json.loads(text)
        except (TypeError, ValueError) as error:
            raise ImageError(f"expected the JSON of a fused/features/description message, got {error}") from error
        version = content.get("version") if isinstance(content, dict) else None
        if version != VERSION:
            raise ImageError(
                f"expected a description of feature maps, version {VERSION}, got version {version!r}; is it a "
                "message of fused/features/description, and of this release?"
            )
        try:
            return _description(content)
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(f"the description of feature maps lacks or mistypes a field: {error!r}") from error


def _description(content: Mapping[str, Any]) -> FeatureDescription:
    layers = tuple(_layer(layer) for layer in content["layers"])
    if not layers:
        raise ValueError("layers is empty")
    sha256 = content["weights_sha256"]
    return FeatureDescription(
        _typed(content, "model", str),
        _typed(content, "network", str),
        None if sha256 is None else str(sha256),
        layers,
    )


def _layer(content: Mapping[str, Any]) -> LayerDescription:
    size = content["image_size"]
    texts = {name: _typed(content, name, str) for name in ("name", "topic", "help", "encoding")}
    return LayerDescription(
        **texts,
        stride=_positive(content, "stride"),
        channels=_positive(content, "channels"),
        image_size=None if size is None else (_positive(size, "height"), _positive(size, "width")),
        quantisation=tuple(
            Quantisation(
                _typed(entry, "from_stamp_ns", int),
                _typed(entry, "scale", float),
                _typed(entry, "zero_point", int),
            )
            for entry in content["quantisation"]
        ),
    )


def _positive(content: Mapping[str, Any], name: str) -> int:
    value = _typed(content, name, int)
    if value < 1:
        raise ValueError(f"{name} is {value}")
    return value


def _typed(content: Mapping[str, Any], name: str, kind: Callable[[Any], T]) -> T:
    value = content[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r}")
    return value
