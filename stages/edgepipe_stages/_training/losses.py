"""What a training minimizes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(scores, labels, the normalized images) -> the mean over the batch."""


def cross_entropy(label_smoothing: float) -> Loss:
    """The usual loss of a classifier."""

    def loss(scores: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        return functional.cross_entropy(scores, labels, label_smoothing=label_smoothing)

    return loss


def distillation(
    teacher: Callable[[Tensor], Tensor],
    *,
    temperature: float,
    alpha: float,
    label_smoothing: float,
) -> Loss:
    """Hinton's loss: ``alpha`` · T² · KL(teacher ‖ student) + (1 - ``alpha``) · cross entropy.

    The temperature T softens both distributions; T² keeps the size of the gradient
    (Hinton et al., 2015, https://arxiv.org/abs/1503.02531).

    Args:
        teacher: normalized images -> scores.
        temperature: T.
        alpha: weight of the teacher.
        label_smoothing: of the cross entropy.
    """
    hard = cross_entropy(label_smoothing)

    def loss(scores: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        soft = functional.kl_div(
            functional.log_softmax(scores / temperature, 1),
            functional.log_softmax(teacher(images) / temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return alpha * temperature**2 * soft + (1 - alpha) * hard(scores, labels, images)

    return loss
