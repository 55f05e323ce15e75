"""How an aligning network moved the thermal image: what is held against the true deformation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..imaging import luma
from ..pipeline import FusionSettings, Sources
from ..settings import parse_assignments
from ..weights import load_network

__all__ = ["FlowOf", "flow_of"]

FlowOf = Callable[[Sources], np.ndarray]
"""Sources -> ``(H, W, 2)`` float32, x first, in px: from each output pixel to where thermal is sampled."""

_FLOW = "flow"


def flow_of(settings: FusionSettings) -> FlowOf | None:
    """Return what asks the method's network for the flow that it moves the thermal image by.

    None where it says none: it aligns features, or moves the visible image. The network is run once more, by
    itself, in PyTorch, since its fast forms give the fused image alone.

    Raises:
        WeightsError: The model cannot be loaded.
    """
    import torch

    network = load_network(settings.model, parse_assignments(settings.network))
    says_flow = _FLOW in {feature.name for feature in network.feature_maps()}
    if not says_flow or network.settings.reference != "visible":
        return None

    def find(sources: Sources) -> np.ndarray:
        pair = (torch.from_numpy(luma(image))[None, None] for image in (sources.infrared, sources.rgb))
        with torch.inference_mode():
            flow = network.features(*pair)[_FLOW][0]
        return np.ascontiguousarray(flow.permute(1, 2, 0).numpy())

    return find
