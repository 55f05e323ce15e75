"""What one step of training is given."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Batch"]


class Batch(NamedTuple):
    """Crops of a few pairs, on one device.

    Where no misalignment is simulated, ``registered`` is ``infrared`` and ``flow`` is zero.

    Attributes:
        infrared: ``(B, 1, h, w)`` float32 in [0, 1], as the network is to be given it.
        visible: ``(B, 1, h, w)`` float32 in [0, 1], luma; its grid is the reference.
        registered: ``(B, 1, h, w)`` float32 in [0, 1], the infrared image on the visible grid.
        flow: ``(B, 2, h, w)`` float32, x first, in pixels, on the visible grid and pointing into ``infrared``:
            ``registered(p) = infrared(p + flow(p))`` (``Gives.FLOW`` in :mod:`fusion_ros.spec`).
        inside: ``(B, 1, h, w)`` float32, 1 where the flow points into the crop of ``infrared``, 0 elsewhere.
    """

    infrared: Tensor
    visible: Tensor
    registered: Tensor
    flow: Tensor
    inside: Tensor
