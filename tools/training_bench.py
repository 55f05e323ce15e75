"""What a step of training costs beside a plain loop, and whether batches come fast enough: part of ``make bench``.

Every stage of every recipe is measured with its settings for ``--small``, as its last epoch runs it, on made
images. A step is taken in three processes in turn, for nobody can change back what a process does with freed
memory: a plain loop over the same network, loss and optimiser; that loop with
``training.memory.keep_freed_memory``; the training loop with all that it does between two checkpoints. All are
given the same batches, made beforehand. The waiting for batches is that of the training loop in an epoch's first
seconds, a worker's start included.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from tqdm import tqdm

from fusion_ros.cli.tables import table
from tools.loader_bench import made_pairs, measure_loader, written
from training.batch import Batch
from training.data.pairs import Pair, Split
from training.loop import train
from training.memory import keep_freed_memory
from training.recipe import Batches, Stage
from training.recipes import RECIPES, PairRecipe
from training.run_folder import RunFolder

__all__ = ["Loading", "Measured", "findings", "measure"]

PLAIN, KEPT, OURS = "plain loop", "kept memory", "training"
"""What a step is taken in: a plain loop, one that keeps freed memory, the training loop."""

_ENDLESS = 100_000  # samples or steps in an epoch: no measurement sees its end
_PAIRS, _SIZE = 32, (480, 640)
_MADE = 8  # batches made beforehand
_TURNS = 9  # of each process


@dataclass(frozen=True)
class Loading:
    """A way to come by batches.

    Attributes:
        images: ``memory``, or ``PNG files``, which are read again for every sample.
        workers: Processes that prepare batches ahead.
    """

    images: str
    workers: int

    def __str__(self) -> str:
        return f"{self.images}, {self.workers or 'no'} worker{'s' * (not self.workers)}"


LOADINGS = tuple(Loading(images, workers) for images in ("memory", "PNG files") for workers in (0, 1))
"""The first is what recipes are set to."""


@dataclass(frozen=True)
class Measured:
    """Figures of one stage.

    Attributes:
        stage: Recipe and stage.
        batch: Samples in a step.
        seconds: A step in each of ``PLAIN``, ``KEPT`` and ``OURS``.
        rates: Samples a second that each way of loading gives to somebody who only takes them.
        waits: Share of an epoch that training waits for batches, for each way of loading.
    """

    stage: str
    batch: int
    seconds: Mapping[str, float]
    rates: Mapping[Loading, float]
    waits: Mapping[Loading, float]

    @property
    def consumed(self) -> float:
        """Samples a second that training takes where it never waits."""
        return self.batch / self.seconds[OURS]

    def supply(self, loading: Loading) -> float:
        """Return how many times as many samples are given as are taken; below 1 training has to wait."""
        return self.rates[loading] / self.consumed


def measure(name: str, pairs: Mapping[str, Sequence[Pair]], *, seconds: float, threads: int) -> Iterator[Measured]:
    """Yield the figures of each stage of a recipe.

    Args:
        name: Of the recipe.
        pairs: The same pairs in memory and in files, by :attr:`Loading.images`.
        seconds: For each figure.
        threads: Of torch; 0 leaves the choice to it.
    """
    recipes = {
        loading: _recipe(
            *(name, pairs[loading.images], threads),
            keep_in_memory=loading.images == "memory",
            workers=loading.workers,
        )
        for loading in LOADINGS
    }
    rates = {
        loading: measure_loader(made.split.train, made.settings, simulator=made.settings.simulate, seconds=seconds)
        for loading, made in recipes.items()
    }
    stages = {loading: recipe.stages for loading, recipe in recipes.items()}
    for index, stage in enumerate(stages[LOADINGS[0]]):
        yield Measured(
            f"{name} {stage.name}",
            recipes[LOADINGS[0]].settings.batch,
            _step_times(name, index, seconds, threads),
            rates,
            {loading: _waiting(recipe, stages[loading][index], seconds) for loading, recipe in recipes.items()},
        )


def findings(rows: Sequence[Measured]) -> list[str]:
    """Return in sentences what the figures say."""
    beside_plain = _span(rows, lambda row: row.seconds[OURS] / row.seconds[PLAIN])
    beside_kept = _span(rows, lambda row: row.seconds[OURS] / row.seconds[KEPT])
    ways = [(row, loading) for row in rows for loading in LOADINGS]
    starved = [f"{row.stage} ({loading})" for row, loading in ways if row.supply(loading) < 1]
    slowest, slowly = min(ways, key=lambda way: way[0].supply(way[1]))
    longest, waiting = max(ways, key=lambda way: way[0].waits[way[1]])
    as_set = max(rows, key=lambda row: row.waits[LOADINGS[0]])
    enough = (
        "The loader never starves the step: at the least it gives "
        f"{slowest.supply(slowly):.1f} times the samples that the step takes ({slowest.stage}, {slowly})."
    )
    return [
        f"A step of training takes {beside_plain} times as long as one of a plain loop.",
        f"Beside a plain loop that keeps freed memory too it is {beside_kept}: the loop's own cost.",
        f"The loader starves the step of {', '.join(starved)}." if starved else enough,
        f"As recipes are set ({LOADINGS[0]}), at most {as_set.waits[LOADINGS[0]]:.1%} of an epoch goes into "
        f"waiting for batches ({as_set.stage}).",
        f"In any way it is at most {longest.waits[waiting]:.1%} ({longest.stage}, {waiting}).",
    ]


def main(argv: list[str] | None = None) -> int:
    """Print a table of steps, a table of loaders, and what they say."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python -m tools.training_bench --recipes didfuse,lrrnet --seconds 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure (default: %(default)s)")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="which (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch (default: its choice)")
    args = parser.parse_args(argv)
    names = args.recipes.split(",")
    if unknown := [name for name in names if name not in RECIPES]:
        parser.error(f"--recipes: expected some of {', '.join(RECIPES)}, got {', '.join(unknown)}")
    keep_freed_memory()  # as training does, before the first large allocation
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        made = made_pairs(_PAIRS, _SIZE)
        pairs = {"memory": made, "PNG files": written(made, Path(folder))}
        for name in tqdm(names, "recipes", disable=None, leave=False):
            rows += measure(name, pairs, seconds=args.seconds, threads=args.threads)
    _print(rows)
    return 0


def _print(rows: Sequence[Measured]) -> None:
    steps = [
        (
            row.stage,
            *(f"{row.seconds[way] * 1e3:.1f}" for way in (PLAIN, KEPT, OURS)),
            f"{row.seconds[PLAIN] / row.seconds[OURS]:.2f}",
        )
        for row in rows
    ]
    print("\na step, median ms\n")
    print(table(("stage", PLAIN, KEPT, OURS, "plain / training"), steps))
    loaders = [
        (
            *(row.stage, loading.images, str(loading.workers)),
            *(f"{row.rates[loading]:.0f}", f"{row.consumed:.1f}", f"{row.supply(loading):.1f}"),
            f"{100 * row.waits[loading]:.1f}",
        )
        for row in rows
        for loading in LOADINGS
    ]
    print(f"\nsamples a second, from pairs of {_SIZE[1]}x{_SIZE[0]}, and share of an epoch spent waiting\n")
    print(table(("stage", "images", "workers", "loader", "step takes", "ratio", "waiting %"), loaders))
    print("", *findings(rows), sep="\n")


def _span(rows: Sequence[Measured], figure: Callable[[Measured], float]) -> str:
    least, most = min(rows, key=figure), max(rows, key=figure)
    if least is most:
        return f"{figure(least):.2f}"
    return f"{figure(least):.2f} ({least.stage}) to {figure(most):.2f} ({most.stage})"


def _recipe(name: str, pairs: Sequence[Pair], threads: int, **changes: Any) -> PairRecipe:
    """Return a recipe with its small settings, and epochs that never end."""
    kind = RECIPES[name]
    endless = {"checkpoint_every": _ENDLESS, "pairs_per_epoch": _ENDLESS}
    settings = kind.Settings.from_mapping({**kind.SMALL, **endless, "threads": threads, **changes})
    return kind(settings, Split(tuple(pairs), tuple(pairs[:1])))


def _leave(recipe: PairRecipe, stage: Stage, batches: Batches) -> None:
    """Leave a recipe one of its stages, fed with other batches, as its last epoch runs it."""
    # Some terms of a loss join, and some layers stop learning, after the first epochs.
    recipe.stages = (replace(stage, batches=batches, prepare=lambda _: stage.prepare(stage.epochs)),)


class _Enough(BaseException):
    """Ends a training from within; no error, so nothing is saved or explained."""


def _train(recipe: PairRecipe) -> None:
    """Train until the batches say that it is enough, without a progress bar."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()), suppress(_Enough):
        run = RunFolder(Path(folder))
        run.start({})
        train(recipe, run, recipe.settings)


def _train_plainly(recipe: PairRecipe) -> None:
    """Train a recipe's only stage as one would by hand, until its batches say that it is enough."""
    (stage,) = recipe.stages
    recipe.network.requires_grad_(False)
    parameters = [parameter.requires_grad_() for module in stage.trained for parameter in module.parameters()]
    optimiser = stage.optimiser(parameters)
    stage.prepare(stage.epochs)
    with suppress(_Enough):
        for batch in stage.batches.epoch(1):
            optimiser.zero_grad()
            stage.losses(batch)["total"].backward()
            optimiser.step()


class _Watched:
    """Batches of a sampler for some time, with the share of it that was spent waiting for them in ``share``."""

    def __init__(self, batches: Batches, seconds: float) -> None:
        self.steps_per_epoch = batches.steps_per_epoch
        self.share = 0.0
        self._batches = batches
        self._seconds = seconds

    def epoch(self, number: int, first_step: int = 0) -> Generator[Batch, None, None]:
        waited, start = 0.0, time.perf_counter()
        with closing(self._batches.epoch(number, first_step)) as batches:
            while (asked := time.perf_counter()) < start + self._seconds:
                batch = next(batches)
                waited += time.perf_counter() - asked
                yield batch
            self.share = waited / (asked - start)
        raise _Enough


def _waiting(recipe: PairRecipe, stage: Stage, seconds: float) -> float:
    """Return the share of an epoch's first seconds that training waits for batches."""
    watched = _Watched(stage.batches, seconds)
    _leave(recipe, stage, watched)
    _train(recipe)
    return watched.share


class _Turns:
    """Batches made beforehand, given out for as long as another process asks; it is told how long a step took."""

    steps_per_epoch = _ENDLESS

    def __init__(self, batches: Batches, connection: Connection) -> None:
        with closing(batches.epoch(1)) as made:
            self._made = list(islice(made, _MADE))
        self._connection = connection

    def epoch(self, number: int, first_step: int = 0) -> Generator[Batch, None, None]:
        batches = cycle(self._made)
        while True:
            try:
                seconds = self._connection.recv()
            except EOFError:
                raise _Enough from None
            count, start = 0, time.perf_counter()
            while count == 0 or time.perf_counter() < start + seconds:
                yield next(batches)
                count += 1
            self._connection.send((time.perf_counter() - start) / count)


def _step_times(name: str, index: int, seconds: float, threads: int) -> dict[str, float]:
    """Return the seconds of a step in each way, from processes that take turns."""
    with ExitStack() as stack:
        turns = {way: stack.enter_context(_stepper(way, name, index, threads)) for way in (PLAIN, KEPT, OURS)}
        for turn in turns.values():
            turn(seconds / _TURNS)  # the first steps find memory, and choose algorithms
        taken = [{way: turn(seconds / _TURNS) for way, turn in turns.items()} for _ in range(_TURNS)]
    return {way: median(times[way] for times in taken) for way in turns}


@contextmanager
def _stepper(way: str, name: str, index: int, threads: int) -> Iterator[Callable[[float], float]]:
    """Give a function that takes steps in a fresh process for so many seconds, and returns those of one step."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, way, name, index, threads), daemon=True)
    process.start()
    theirs.close()

    def turn(seconds: float) -> float:
        try:
            ours.send(seconds)
            return ours.recv()
        except (EOFError, OSError):
            raise SystemExit(f"the process that trains {name} ({way}) has ended; its error is above") from None

    try:
        yield turn
    finally:
        ours.close()
        process.join()


def _serve(connection: Connection, way: str, name: str, index: int, threads: int) -> None:
    """Take steps whenever the other end asks, until it closes."""
    if threads:
        torch.set_num_threads(threads)
    with patch("training.recipes.pair_recipe.keep_freed_memory") if way == PLAIN else nullcontext():
        recipe = _recipe(name, made_pairs(_PAIRS, _SIZE), threads)
    stage = recipe.stages[index]
    _leave(recipe, stage, _Turns(stage.batches, connection))
    (_train if way == OURS else _train_plainly)(recipe)


if __name__ == "__main__":
    raise SystemExit(main())
