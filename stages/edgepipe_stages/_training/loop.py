"""The training loop, and its whole state as one object."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages._training.augment import augmented
from edgepipe_stages._training.evaluate import evaluate
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.losses import Loss
from edgepipe_stages._training.optimizer import optimizer_of
from edgepipe_stages._training.precision import uses_bfloat16
from edgepipe_stages._training.schedule import learning_rate
from edgepipe_stages._training.settings import Training

Watch = Callable[[int, float, float], None]
"""Called after each step: images seen in this epoch, mean loss and accuracy of the epoch so far."""


@dataclass
class History:
    """One number an epoch: mean training loss, learning rate at its end, validation accuracy."""

    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


class Loop:
    """Trains a module epoch by epoch; `state_dict` is all that decides the next step."""

    def __init__(
        self,
        module: nn.Module,
        images: Images,
        settings: Training,
        loss: Loss,
        *,
        seed: int,
        constraint: Callable[[], None] | None = None,
    ) -> None:
        """Prepare a training.

        Args:
            module: trained in place, in the layout of the images.
            images: the training split; a part is kept apart to choose the best weights.
            settings: of the training.
            loss: what is minimized.
            seed: decides the split, the order, the augmentation and dropout.
            constraint: restores after each step what the weights must fulfill (a mask).

        Raises:
            StageError: too few images.
        """
        self.module = module
        self.settings = settings
        self.loss = loss
        self.constraint = constraint
        self.images, self.validation = images.split(settings.validation_fraction, seed)
        self.optimizer = optimizer_of(module, settings)
        self.bfloat16 = uses_bfloat16(settings.precision, module)
        self.generator = Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.steps = math.ceil(len(self.images) / settings.batch_size)
        self.fill = torch.tensor([round(255 * m) for m in images.interface.mean]).to(torch.uint8)
        self.epoch = 0
        self.order: Tensor | None = None
        """In which the running epoch takes the images; None between epochs."""
        self.done = 0
        """Steps of the running epoch; `seen`, `total_loss` and `correct` are of them."""
        self.seen, self.total_loss, self.correct = 0, 0.0, 0
        self.best_epoch = 0
        self.best_score = (-1.0, -math.inf)
        self.best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        self.history = History()

    @property
    def within(self) -> bool:
        """An epoch has begun and is not over."""
        return self.order is not None

    @property
    def finished(self) -> bool:
        """All epochs are done, or too many in a row were no better."""
        patience = self.settings.patience
        late = patience is not None and self.epoch - self.best_epoch >= patience
        return self.epoch >= self.settings.epochs or late

    def run_epoch(self, watch: Watch = lambda seen, loss, accuracy: None) -> None:
        """Train on every image once, then look at the validation images.

        Goes on within an epoch that `load_state_dict` found begun. ``watch`` may save the state.

        Raises:
            StageError: the loss is not finite any more.
        """
        self.module.train()
        if self.order is None:
            self.order = torch.randperm(len(self.images), generator=self.generator)
            self.done, self.seen, self.total_loss, self.correct = 0, 0, 0.0, 0
        for batch in self.order.tensor_split(self.steps)[self.done :]:
            loss, right = self._step(self.done, batch)
            self.done += 1
            self.seen += len(batch)
            self.total_loss += loss * len(batch)
            self.correct += right
            watch(self.seen, self.total_loss / self.seen, self.correct / self.seen)
        self.history.loss.append(self.total_loss / self.seen)
        self.history.learning_rate.append(self._learning_rate(self.steps - 1))
        self.order = None
        self.epoch += 1
        self._keep_if_best()

    def restore_best(self) -> None:
        """Give the module its best weights."""
        self.module.load_state_dict(self.best)

    def _step(self, step: int, batch: Tensor) -> tuple[float, int]:
        rate = self._learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        pixels = self.images.pixels[batch]
        labels = self.images.labels[batch]
        pixels = augmented(pixels, self.settings.augment, self.fill, self.generator)
        images = self.images.normalized(pixels)
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            scores = self.module(images)
        scores = scores.float()
        loss = self.loss(scores, labels, images)
        value = loss.item()
        if not math.isfinite(value):
            raise self._diverged(value, step, rate)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        if self.constraint is not None:
            self.constraint()
        return value, int((scores.detach().argmax(1) == labels).sum())

    def _learning_rate(self, step: int) -> float:
        return learning_rate(
            self.epoch * self.steps + step,
            self.settings.epochs * self.steps,
            min(
                round(self.settings.warmup_epochs * self.steps),
                self.settings.epochs * self.steps // 2,
            ),
            self.settings.learning_rate,
        )

    def _keep_if_best(self) -> None:
        if len(self.validation):
            accuracy, loss = evaluate(self.module, self.validation, bfloat16=self.bfloat16)
            self.history.validation_accuracy.append(accuracy)
            score = (accuracy, -loss)
            if score <= self.best_score:
                return
            self.best_score = score
        self.best_epoch = self.epoch
        for name, tensor in self.module.state_dict().items():
            self.best[name].copy_(tensor)

    def _diverged(self, value: float, step: int, rate: float) -> StageError:
        tries = [
            f"a lower learning_rate ({self.settings.learning_rate / 4:g})",
            "more warmup_epochs",
        ]
        if self.settings.gradient_clip is None:
            tries.append("gradient_clip: 1")
        if self.bfloat16:
            tries.append("precision: float32")
        return StageError(
            f"the loss became {value} in epoch {self.epoch + 1}, step {step + 1} of {self.steps},"
            f" at learning rate {rate:.3g}",
            "try " + ", ".join(tries),
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors under ``tensors``, plain data under the rest."""
        tensors = {f"model/{name}": t for name, t in self.module.state_dict().items()}
        tensors |= {f"best/{name}": t for name, t in self.best.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{i}/{name}": t for name, t in state.items() if t is not None}
        tensors["generator"] = self.generator.get_state()
        tensors["dropout"] = torch.get_rng_state()
        if self.order is not None:
            tensors["order"] = self.order
        return {
            "tensors": tensors,
            "epoch": self.epoch,
            "within": [self.done, self.seen, self.total_loss, self.correct],
            "best_epoch": self.best_epoch,
            "best_score": list(self.best_score) if len(self.validation) else None,
            "history": vars(self.history),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave, for a loop made with the same arguments.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the state is not of such a loop.
        """
        tensors: dict[str, Tensor] = state["tensors"]
        self.module.load_state_dict({n: tensors[f"model/{n}"] for n in self.module.state_dict()})
        for name, tensor in self.best.items():
            tensor.copy_(tensors[f"best/{name}"])
        self._load_optimizer(tensors)
        self.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["dropout"])
        self.epoch = int(state["epoch"])
        self.order = tensors.get("order")
        self.done, self.seen, self.total_loss, self.correct = state["within"]
        self.best_epoch = int(state["best_epoch"])
        if state["best_score"] is not None:
            accuracy, loss = state["best_score"]
            self.best_score = (float(accuracy), float(loss))
        self.history = History(**state["history"])

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Fused kernels walk memory: each state must lie in memory as its parameter does."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            if kind != "optimizer":
                continue
            number, _, key = rest.partition("/")
            parameter = parameters[int(number)]
            if tensor.shape == parameter.shape:
                tensor = torch.empty_like(parameter).copy_(tensor)
            self.optimizer.state[parameter][key] = tensor
