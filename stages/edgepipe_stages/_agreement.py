"""What has to hold where a model meets a data set: the same classes, and scores that are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepipe.stage import StageError
from edgepipe_stages._artifacts import Interface

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN = 5


def check_classes(model: Interface, data: Interface) -> None:
    """That a model's scores stand for the classes that a data set's labels name.

    Classes that are called 0, 1, 2 … are those of data without names: only their number counts.
    Of a model without names, `check_scores` counts the scores.

    Raises:
        StageError: other classes, or the same in another order.
    """
    own, other = model.classes, data.classes
    if not own or own == other or (len(own) == len(other) and (_nameless(own) or _nameless(other))):
        return
    if sorted(own) == sorted(other):
        differ = "has the model's classes in another order"
    else:
        differ = "has other classes than the model"
    raise StageError(
        f"the data {differ}: {_listed(other)}, the model {_listed(own)}",
        "bring the data to the model's classes, in their order: 'classes' of the data stage, and the"
        " labels of data.python; or train the model for this data, as 'init' of train.classifier",
    )


def check_scores(scores: NDArray[np.float32], data: Interface) -> None:
    """That there is one score for each class of a data set.

    Raises:
        StageError: more, fewer, or something else than one row an image.
    """
    if scores.shape[1:] != (len(data.classes),):
        given = " × ".join(map(str, scores.shape[1:]))
        raise StageError(
            f"the model gives {given} scores an image, and the data has {len(data.classes)} classes",
            "connect a model that was trained for this data",
        )


def count_not_finite(scores: NDArray[np.float32]) -> int:
    """Of how many images a score is infinite or NaN; scores are N × classes."""
    import numpy as np

    return int((~np.isfinite(scores)).any(axis=1).sum())


def check_finite(bad: int, samples: int, whose: str = "the model") -> None:
    """That scores are numbers: among NaNs, too, one comes first, and counts as the best.

    Args:
        bad: of how many images a score is infinite or NaN.
        samples: of how many images there are scores.
        whose: who gave them, for the message.

    Raises:
        StageError: some are not.
    """
    if bad:
        raise StageError(
            f"{whose} gives scores that are no finite numbers, for {bad} of {samples} images",
            "look at its forward() and its weights; a training that diverged needs a lower"
            " learning_rate",
        )


def _nameless(classes: tuple[str, ...]) -> bool:
    return classes == tuple(map(str, range(len(classes))))


def _listed(classes: tuple[str, ...]) -> str:
    more = ", …" if len(classes) > _SHOWN else ""
    return f"{len(classes)} ({', '.join(classes[:_SHOWN])}{more})"
