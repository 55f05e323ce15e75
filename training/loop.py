"""The training loop: what happens in an epoch, when it is saved, and how it goes on after a break.

Exact resume rests on three rules. The state is saved only between epochs; the batches of an epoch
depend on the seed and the epoch's number alone; the learning rate depends on the step's number
alone. So an epoch that was cut short is repeated from its start and gives what it would have given.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .run_folder import RunFolder, TrainingError

__all__ = ["Recipe", "train"]

log = logging.getLogger(__name__)

Row = dict[str, float]


class Recipe(Protocol):
    """What a recipe gives to the loop."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    epochs: int
    steps_per_epoch: int

    def prepare(self, epoch: int) -> None:
        """Put the network into the mode in which this epoch (from 1) trains it."""

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at ``progress`` in [0, 1) of the whole run."""

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of this epoch; they depend on nothing but the seed and the epoch."""

    def losses(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return the loss of a batch as ``total``, and its parts."""

    def validate(self, epoch: int) -> Row:
        """Return the validation ``loss`` and metrics in inference mode; empty where this epoch skips it."""


def train(recipe: Recipe, run: RunFolder) -> list[Row]:
    """Train until the recipe's last epoch, going on from the run's last complete one.

    Args:
        recipe: What to train, on what, how.
        run: A started run folder; if it holds a checkpoint, training goes on from it.

    Returns:
        The history, one row an epoch.

    Raises:
        TrainingError: The loss is not finite, the user interrupted, or the checkpoint is damaged. The
            text says which epoch is safe and how to go on.
    """
    history, best = _restore(recipe, run)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        try:
            row = _epoch(recipe, epoch)
            if row.get("validation_loss", math.inf) < best:
                best = row["validation_loss"]
                run.save_best(recipe.network)
            run.save(_state(recipe, [*history, row], best))
        except KeyboardInterrupt:
            raise TrainingError(f"interrupted in epoch {epoch}; {_way_on(run, len(history))}") from None
        except FloatingPointError as error:
            raise TrainingError(
                f"{error} in epoch {epoch}; lower the learning rate or look for broken images; "
                f"{_way_on(run, len(history))}"
            ) from None
        history.append(row)
        log.info(_sentence(row, recipe.epochs))
    return history


def _epoch(recipe: Recipe, epoch: int) -> Row:
    start = time.monotonic()
    recipe.prepare(epoch)
    sums: Row = {}
    bar = tqdm(recipe.batches(epoch), f"epoch {epoch}", recipe.steps_per_epoch, leave=False, disable=None)
    for step, batch in enumerate(bar):
        progress = (epoch - 1 + step / recipe.steps_per_epoch) / recipe.epochs
        losses = _step(recipe, batch, recipe.learning_rate(progress))
        if not math.isfinite(losses["total"]):
            raise FloatingPointError(f"the loss became {losses['total']} at step {step + 1}")
        sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
        bar.set_postfix(loss=f"{losses['total']:.4f}")
    row = {"epoch": epoch, **{f"train_{name}": total / recipe.steps_per_epoch for name, total in sums.items()}}
    row |= {f"validation_{name}": value for name, value in recipe.validate(epoch).items()}
    return row | {"seconds": round(time.monotonic() - start, 2)}


def _step(recipe: Recipe, batch: tuple[Tensor, ...], learning_rate: float) -> Row:
    for group in recipe.optimiser.param_groups:
        group["lr"] = learning_rate
    losses = recipe.losses(batch)
    recipe.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    recipe.optimiser.step()
    return {name: float(value.detach()) for name, value in losses.items()}


def _state(recipe: Recipe, history: list[Row], best: float) -> dict[str, Any]:
    return {
        "network": recipe.network.state_dict(),
        "optimiser": recipe.optimiser.state_dict(),
        "history": history,
        "best": best,
    }


def _restore(recipe: Recipe, run: RunFolder) -> tuple[list[Row], float]:
    state = run.load()
    if state is None:
        return [], math.inf
    recipe.network.load_state_dict(state["network"], strict=True)
    recipe.optimiser.load_state_dict(state["optimiser"])
    log.info("going on after epoch %d of %d", len(state["history"]), recipe.epochs)
    return state["history"], state["best"]


def _way_on(run: RunFolder, complete: int) -> str:
    saved = f"epoch {complete} is saved" if complete else "no epoch is complete"
    return f"{saved}; go on with --resume {run.path}"


def _sentence(row: Row, epochs: int) -> str:
    values = [f"{name} {value:.4f}" for name, value in row.items() if name not in ("epoch", "seconds")]
    return f"epoch {row['epoch']}/{epochs}  " + "  ".join(values) + f"  ({row['seconds']:.0f} s)"
