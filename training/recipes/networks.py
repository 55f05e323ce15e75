"""What recipes do with a network: give it images in its value range, and begin it with another's weights."""

from __future__ import annotations

from torch import Tensor, nn

from fusion_ros.checkpoints import differences
from fusion_ros.errors import WeightsError
from fusion_ros.networks import FusionNetwork, InputRange

from ..losses.stretch import stretched

__all__ = ["begin_with", "network_inputs"]


def network_inputs(network: FusionNetwork, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Return crops ``(B, 1, h, w)`` in [0, 1] in the value range that the network takes."""
    images = (infrared, visible)
    if network.spec.input_range is InputRange.BYTE:
        infrared, visible = (255 * image for image in images)
    elif network.spec.input_range is InputRange.STRETCHED:
        infrared, visible = (stretched(image) for image in images)
    return infrared, visible


def begin_with(part: nn.Module, given: nn.Module, misfit: str, width: str) -> None:
    """Begin a part of a network with the weights of another, which the setting ``start`` named.

    Args:
        part: What is to begin with them.
        given: Has them.
        misfit: For the message: what is wrong if they do not fit.
        width: The option that says how wide the part is.

    Raises:
        WeightsError: They do not fit.
    """
    tensors = given.state_dict()
    problem = differences(part.state_dict(), tensors)
    if problem:
        raise WeightsError(f"start: {misfit}: {problem}; give another model, or {width}")
    part.load_state_dict(tensors)
