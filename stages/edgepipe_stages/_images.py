"""What the data stages share: splits, normalization and sizes of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edgepipe.stage import StageError
from edgepipe_stages._artifacts import Dataset, Interface, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Normalize = Literal["dataset", "imagenet", "half"]
NORMALIZE = (
    "dataset: mean and deviation of the training pixels; imagenet: those of ImageNet, for weights"
    " that were trained on it; half: 0.5 and 0.5, which gives -1 to 1"
)

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_IMAGENET_GRAY = ((0.449,), (0.226,))


def dataset(train: Split, test: Split, classes: tuple[str, ...], normalize: Normalize) -> Dataset:
    """Two splits with the interface that fits them."""
    _, height, width, channels = train.images.shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    if normalize == "imagenet":
        mean, std = _IMAGENET if channels == 3 else _IMAGENET_GRAY
    elif normalize == "half":
        mean = std = (0.5,) * channels
    else:
        mean, std = pixel_statistics(train.images)
    return Dataset(train, test, Interface(height, width, channels, mean, std, classes))


def pixel_statistics(
    images: NDArray[np.uint8],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels from 0 to 1, to four digits.

    A channel that is the same everywhere has deviation 1, so that it can be divided by.
    """
    import numpy as np

    values = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(images.shape[3]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        mean = float(counts @ values / counts.sum())
        variance = float(counts @ (values - mean) ** 2 / counts.sum())
        means.append(round(mean, 4))
        deviations.append(round(variance**0.5, 4) or 1.0)
    return tuple(means), tuple(deviations)


def stratified_split(
    labels: NDArray[np.int64], fraction: float, seed: int, classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions for training and for testing, each in order; every class is in both.

    Args:
        labels: numbers of classes.
        fraction: of each class goes to the test split, at least one image.
        seed: chooses which.
        classes: their names.

    Raises:
        StageError: a class has fewer than two images.
    """
    import numpy as np

    train, test = [], []
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise StageError(
                f"class '{name}' has {len(members)} image{'s' * (len(members) != 1)}:"
                " too few to split into train and test",
                "add images, leave the class out, or give train and test splits of your own",
            )
        shuffled = np.random.default_rng([seed % 2**63, label]).permutation(members)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        test.append(shuffled[:count])
        train.append(shuffled[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))
