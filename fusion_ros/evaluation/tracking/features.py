"""Where the features that trackers follow come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...errors import ImageError
from ...feature_grid import FeatureGrid
from ...frame import FramePair
from ...pipeline import FusionPipeline, FusionSettings, open_pipeline

__all__ = ["FeatureSource", "PipelineFeatures", "open_features"]


class FeatureSource(Protocol):
    """Computes feature maps of frame pairs."""

    def __call__(self, pair: FramePair) -> Mapping[str, FeatureGrid]:
        """Return the feature maps by layer, on the RGB image's grid."""

    def prepare(self, height: int, width: int) -> None:
        """Compile what has to be compiled for RGB images of this size."""

    def reset(self) -> None:
        """Forget earlier pairs: another sequence begins."""


class PipelineFeatures:
    """Those of a fusion pipeline, so that what is measured is what runs on the robot."""

    def __init__(self, pipeline: FusionPipeline) -> None:
        self._pipeline = pipeline
        self._prepared: tuple[int, int] | None = None

    def __call__(self, pair: FramePair) -> Mapping[str, FeatureGrid]:
        """See :class:`FeatureSource`.

        Raises:
            ImageError: The pair lacks a frame, or has one that cannot be used.
        """
        if pair.rgb is None or pair.thermal is None:
            raise ImageError("expected an RGB and a thermal frame, got one of them")
        features = self._pipeline(pair, with_image=False, with_features=True).features
        assert features is not None  # they were asked for
        return features

    def prepare(self, height: int, width: int) -> None:
        """See :class:`FeatureSource`."""
        if (height, width) != self._prepared:
            self._pipeline.prepare(height, width)
            self._prepared = height, width

    def reset(self) -> None:
        """See :class:`FeatureSource`."""
        self._pipeline.reset()

    @property
    def description(self) -> str:
        """One line: the model, what runs it, and what aligns."""
        return self._pipeline.description

    def close(self) -> None:
        """Free what the engines hold."""
        self._pipeline.close()


def open_features(settings: FusionSettings) -> PipelineFeatures:
    """Open the pipeline that gives what ``settings.features`` names.

    Raises:
        WeightsError, EngineError, SettingsError: As for :func:`fusion_ros.pipeline.open_pipeline`.
    """
    return PipelineFeatures(open_pipeline(settings))
