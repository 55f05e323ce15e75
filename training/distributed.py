"""Training in several processes, one for each GPU, say: ``torchrun --nproc-per-node 2 -m -- training ...``.

Each process runs the same loop on its share of every batch. Gradients are averaged by
``DistributedDataParallel``, so where a loss is a mean over the batch and the shares are equal, the weights are
those of one process with the whole batch. The main process (rank 0) validates and writes; all processes read the
same run folder. Here too is what keeps them together: a process that fails alone would leave the others waiting
for its gradients.

Without ``torchrun`` there is one process, and everything here does nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fusion_ros.errors import SettingsError

__all__ = [
    "any_of",
    "device",
    "from_main",
    "is_main",
    "mean",
    "parallel",
    "process_group",
    "rank",
    "synchronise_norms",
    "together",
    "world",
]

log = logging.getLogger(__name__)

T = TypeVar("T")
# The others wait while the main process validates; a process that has died is noticed at once all the same.
_PATIENCE = timedelta(hours=12)


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Tell whether this is the process that validates and writes."""
    return rank() == 0


def device(name: str) -> torch.device:
    """Return the device of this process: ``cpu``, or for ``cuda`` the GPU that is its own.

    Raises:
        SettingsError: There is no such GPU.
    """
    if name != "cuda":
        return torch.device(name)
    number, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= found:
        wanted = "a CUDA device" if world() == 1 else f"{number + 1} or more CUDA devices, one a process"
        raise SettingsError(
            f"device: expected {wanted}, found {found or 'none'}; use --device cpu or fewer processes"
        )
    return torch.device("cuda", number)


@contextmanager
def process_group(name: str) -> Iterator[None]:
    """Connect the processes for the time of the body; one that is connected already stays so.

    Args:
        name: ``cpu`` or ``cuda``, where the networks are.
    """
    if world() == 1 or dist.is_initialized():
        yield
        return
    if name == "cuda":
        torch.cuda.set_device(device(name))
    # NCCL carries what is on GPUs, that is the gradients; all else is small and stays on the CPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if name == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def parallel(module: nn.Module) -> nn.Module:
    """Return a module whose gradients are averaged over the processes; it begins with the main one's tensors."""
    if world() == 1:
        return module
    place = next(module.parameters()).device
    # A stage may hold parameters that its loss does not use in every epoch.
    return DistributedDataParallel(
        module, device_ids=[place] if place.type == "cuda" else None, find_unused_parameters=True
    )


def synchronise_norms(network: nn.Module) -> None:
    """Let batch normalisation see the batch of all processes; on GPUs alone, for torch has nothing for the CPU.

    Layers are replaced in the network, so whoever keeps a list of them must make it anew.
    """
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if world() == 1 or not norms:
        return
    if next(network.parameters()).device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    elif is_main():
        log.info("batch normalisation on the CPU sees the share of one process, a batch %d times smaller", world())


@contextmanager
def together() -> Iterator[None]:
    """Raise in every process what the body raises in one, so that none waits for another for ever.

    The body must not wait for other processes itself after the point where it may fail.
    """
    if world() == 1:
        yield
        return
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    if any_of(error is not None):
        errors: list[Exception | None] = [None] * world()
        dist.all_gather_object(errors, error)
        raise error or next(filter(None, errors))


def any_of(flag: bool) -> bool:
    """Tell whether ``flag`` is set in any process."""
    if world() == 1:
        return flag
    flags = torch.tensor([flag], dtype=torch.uint8)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def mean(values: dict[str, float]) -> dict[str, float]:
    """Return the means over all processes, of values that have the same names in each."""
    if world() == 1:
        return values
    totals = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(totals)
    return dict(zip(values, (totals / world()).tolist(), strict=True))


def from_main(value: T) -> T:
    """Return the main process's ``value``, in every process."""
    if world() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
