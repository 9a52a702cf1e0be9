"""Runs a training inside a stage: checkpoints, progress, and what is told about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch import nn

from edgepipe.stage import Context
from edgepipe_stages._training.checkpoint import load_checkpoint, save_checkpoint
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.loop import History, Loop
from edgepipe_stages._training.losses import Loss, cross_entropy
from edgepipe_stages._training.memory import freed_memory_kept
from edgepipe_stages._training.settings import Training

CHECKPOINT_SECONDS = 10.0
"""Between two checkpoints, at least; a kill costs little more."""
CHECKPOINT_SHARE = 0.02
"""Of the time that may go into writing checkpoints: those of large networks are rarer."""
PROGRESS_SECONDS = 0.1


def fit(
    ctx: Context,
    module: nn.Module,
    images: Images,
    settings: Training,
    *,
    loss: Loss | None = None,
    constraint: Callable[[], None] | None = None,
    name: str = "training",
) -> History:
    """Train a module in place; it ends with its best weights, in evaluation mode.

    A training that was killed goes on from its last checkpoint and ends with the same bytes.

    Args:
        ctx: seeds the training, keeps its checkpoints, is told its progress.
        module: on the processor, float32.
        images: the training split.
        settings: of the training.
        loss: default: cross entropy.
        constraint: see `Loop`.
        name: tells the checkpoints of a stage's trainings apart.

    Raises:
        StageError: too few images, or the loss is not finite any more.
    """
    loss = loss or cross_entropy(settings.label_smoothing)
    loop = Loop(module, images, settings, loss, seed=ctx.seed, constraint=constraint)
    file = f"{name}.checkpoint"
    try:
        if load_checkpoint(ctx.scratch / file, loop):
            within = f", step {loop.done} of {loop.steps} of the next" if loop.within else ""
            ctx.log(f"{name}: goes on after epoch {loop.epoch}{within}")
    except ValueError as error:
        ctx.warn(f"{error}: {name} starts anew")
    with freed_memory_kept():
        _run(ctx, loop, Checkpoints(ctx, file, loop), name)
    loop.restore_best()
    module.eval()
    return loop.history


def _run(ctx: Context, loop: Loop, checkpoints: Checkpoints, name: str) -> None:
    progress = Progress(ctx, loop)

    def watch(seen: int, loss: float, accuracy: float) -> None:
        progress.step(seen, loss, accuracy)
        checkpoints.step()

    while not loop.finished:
        loop.run_epoch(watch)
        ctx.log(f"{name}: {_epoch_line(loop)}")
    # A stage that trains several times goes on after this one.
    checkpoints.save()


def _epoch_line(loop: Loop) -> str:
    history = loop.history
    line = f"epoch {loop.epoch}/{loop.settings.epochs}: loss {history.loss[-1]:.4f}"
    if history.validation_accuracy:
        line += f", validation accuracy {history.validation_accuracy[-1]:.2%}"
    stopped = loop.finished and loop.epoch < loop.settings.epochs
    return line + (f"; stopped, epoch {loop.best_epoch} was the best" if stopped else "")


class Checkpoints:
    """Saves a loop's state now and then, in the middle of an epoch as well as at its end."""

    def __init__(self, ctx: Context, file: str, loop: Loop) -> None:
        self.ctx = ctx
        self.file = file
        self.loop = loop
        self.next = time.monotonic() + CHECKPOINT_SECONDS

    def step(self) -> None:
        """Called after each step."""
        if time.monotonic() > self.next:
            self.save()

    def save(self) -> None:
        """Save now; when the next one is due follows from what this one took."""
        begun = time.monotonic()
        # Asked for each time: it tells whether what was trained with is still as it was.
        save_checkpoint(self.ctx.scratch / self.file, self.loop)
        now = time.monotonic()
        self.next = now + max(CHECKPOINT_SECONDS, (now - begun) / CHECKPOINT_SHARE)


class Progress:
    """Tells a context how far a loop is, a few times a second."""

    def __init__(self, ctx: Context, loop: Loop) -> None:
        self.ctx = ctx
        self.loop = loop
        self.first = loop.epoch * len(loop.images) + loop.seen * loop.within
        self.started = time.monotonic()
        self.told = 0.0

    def step(self, seen: int, loss: float, accuracy: float) -> None:
        """See `loop.Watch`."""
        images = len(self.loop.images)
        now = time.monotonic()
        if now - self.told < PROGRESS_SECONDS and seen < images:
            return
        self.told = now
        epoch = self.loop.epoch
        done = epoch * images + seen
        rate = (done - self.first) / max(now - self.started, 1e-9)
        self.ctx.progress(
            done,
            self.loop.settings.epochs * images,
            loss=loss,
            accuracy=accuracy,
            images_per_second=rate,
            epoch=epoch + 1,
        )


def curves(*histories: History) -> dict[str, Any]:
    """The ``curves`` of a Metrics output: trainings one after the other, a point an epoch."""
    joined = {
        name: [value for history in histories for value in getattr(history, name)]
        for name in ("loss", "validation_accuracy", "learning_rate")
    }
    return {
        name: {"x": list(range(1, len(values) + 1)), "y": values}
        for name, values in joined.items()
        if values
    }
