"""How good a network is on images that it was not trained on."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgepipe_stages._agreement import check_finite
from edgepipe_stages._training.images import Images


@torch.no_grad()
def evaluate(
    module: nn.Module, images: Images, *, bfloat16: bool = False, batch_size: int = 256
) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross entropy over all images. Keeps the module's mode.

    Raises:
        StageError: scores are infinite or NaN.
    """
    training = module.training
    module.eval()
    correct, loss, bad = 0, 0.0, 0
    for first in range(0, len(images), batch_size):
        batch = slice(first, first + batch_size)
        labels = images.labels[batch]
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = module(images.normalized(images.pixels[batch])).float()
        bad += int((~scores.isfinite()).any(1).sum())
        correct += int((scores.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(scores, labels, reduction="sum"))
    module.train(training)
    check_finite(bad, len(images))
    return correct / len(images), loss / len(images)
