"""Choosing images that stand for a whole split: a stratified sample, drawn by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepipe.stage import StageError
from edgepipe_stages._artifacts import Dataset, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def calibration_split(data: Dataset, samples: int, seed: int) -> Split:
    """A stratified sample of the train split, in which every class appears.

    Args:
        data: the data set; only its train split is read.
        samples: how many images; all of the split if it has fewer.
        seed: draws the images.

    Raises:
        StageError: some class would be without an image; says how many each class has.
    """
    import numpy as np

    names = data.interface.classes
    counts = np.bincount(data.train.labels, minlength=len(names))
    listed = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))
    missing = [name for name, count in zip(names, counts, strict=True) if count == 0]
    if missing:
        raise StageError(
            f"the calibration set would be without images of {', '.join(missing)}:"
            " the train split has none",
            f"images a class in the train split: {listed}",
        )
    if samples < len(names):
        raise StageError(
            f"{samples} calibration images cannot show each of the {len(names)} classes:"
            f" at least {len(names)} are needed, one a class",
            f"raise 'samples' (200 is usual); images a class in the train split: {listed}",
        )
    chosen = stratified(data.train.labels, samples, seed)
    return Split(data.train.images[chosen], data.train.labels[chosen])


def stratified(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Ascending indices of ``count`` labels: each class by its share, at least one if it fits.

    Shares are rounded by largest remainders (Hamilton's method).
    """
    import numpy as np

    if count >= len(labels):
        return np.arange(len(labels))
    random = np.random.default_rng(seed)
    classes, sizes = np.unique(labels, return_counts=True)
    quota = sizes * (count / len(labels))
    take = np.floor(quota).astype(np.int64)
    if count >= len(classes):
        take = np.maximum(take, 1)
    while take.sum() != count:
        step = 1 if take.sum() < count else -1
        open_ = (take < sizes) if step > 0 else (take > 1)
        take[np.argmax(np.where(open_, step * (quota - take), -np.inf))] += step
    members = (np.flatnonzero(labels == label) for label in classes)
    parts = [random.permutation(m)[:n] for m, n in zip(members, take, strict=True)]
    return np.sort(np.concatenate(parts))
