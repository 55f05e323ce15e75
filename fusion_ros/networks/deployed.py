"""The form in which a network is run on a robot: the same function, arranged for speed."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from .lrrnet import LRRNet
from .lrrnet_strips import LRRNetStrips
from .reconet import ReCoNetFuser
from .reconet_joint import ReCoNet
from .reconet_strips import ReCoNetJointStrips, ReCoNetStrips

__all__ = ["DEPLOYED_FORMS", "STRIP_BYTES", "deployed"]

STRIP_BYTES = 3 << 20
"""Bytes of the widest map of a strip. Between 1.5 and 5 MB the time is flat on a processor with 1 MB
of second-level cache per core; larger maps leave the cache, smaller ones make many small operations."""


class _Form(Protocol):
    def __call__(self, network: nn.Module, height: int, width: int, cache_bytes: int | None) -> nn.Module: ...


DEPLOYED_FORMS: dict[type[nn.Module], _Form] = {
    LRRNet: LRRNetStrips,
    ReCoNet: ReCoNetJointStrips,
    ReCoNetFuser: ReCoNetStrips,
}
"""Network -> the module that computes the same from the same weights."""


def deployed(network: nn.Module, height: int, width: int, cache_bytes: int | None = STRIP_BYTES) -> nn.Module:
    """Return the form of ``network`` to run on images of one size, or ``network`` where it has none.

    Args:
        network: A trained network. It is not changed.
        height: Rows of every image that will come.
        width: Columns of every image that will come.
        cache_bytes: Budget for the widest map, where the form works on parts of the image that fit a
            cache; None for processors that gain nothing from it.
    """
    form = DEPLOYED_FORMS.get(type(network))
    return network if form is None else form(network, height, width, cache_bytes)
