"""Stratified samples: shares, every class, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepipe.stage import StageError
from edgepipe_stages import Dataset, Interface, Split
from edgepipe_stages._calibration import calibration_split, stratified

LABELS = np.repeat(np.arange(3, dtype=np.int64), (60, 30, 10))


def data_set(labels: list[int], classes: tuple[str, ...]) -> Dataset:
    numbers = np.asarray(labels, np.int64)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    split = Split(images, numbers)
    return Dataset(split, split, Interface(1, 1, 1, (0.0,), (1.0,), classes))


def test_each_class_has_its_share() -> None:
    for count, shares in ((50, [30, 15, 5]), (10, [6, 3, 1]), (3, [1, 1, 1]), (7, [4, 2, 1])):
        chosen = stratified(LABELS, count, seed=1)
        assert np.bincount(LABELS[chosen]).tolist() == shares
        assert (np.diff(chosen) > 0).all()


def test_the_seed_decides_which_images() -> None:
    assert stratified(LABELS, 20, 1).tolist() == stratified(LABELS, 20, 1).tolist()
    assert stratified(LABELS, 20, 1).tolist() != stratified(LABELS, 20, 2).tolist()


def test_all_of_a_split_that_has_fewer() -> None:
    assert stratified(LABELS, 1000, 1).tolist() == list(range(100))


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.integers(1, 100),
    st.integers(0, 2**32),
)
def test_any_labels_any_count(labels: list[int], count: int, seed: int) -> None:
    numbers = np.asarray(labels, np.int64)
    chosen = stratified(numbers, count, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(labels))
    if count >= len(set(labels)):
        assert set(numbers[chosen].tolist()) == set(labels)


def test_a_calibration_set_takes_images_with_their_labels() -> None:
    data = data_set([0, 1] * 50, ("a", "b"))
    split = calibration_split(data, 10, seed=3)
    assert np.bincount(split.labels).tolist() == [5, 5]
    assert (split.images.ravel() % 2).tolist() == split.labels.tolist()


def test_too_few_for_the_classes() -> None:
    with pytest.raises(StageError) as caught:
        calibration_split(data_set([0] * 5 + [1] * 4 + [2], ("cat", "dog", "owl")), 2, seed=0)
    assert caught.value.render() == (
        "error: 2 calibration images cannot show each of the 3 classes: at least 3 are needed,"
        " one a class\n"
        "  raise 'samples' (200 is usual); images a class in the train split: cat: 5, dog: 4,"
        " owl: 1"
    )


def test_a_class_without_images() -> None:
    with pytest.raises(StageError, match="without images of owl: the train split has none"):
        calibration_split(data_set([0, 1, 1], ("cat", "dog", "owl")), 100, seed=0)
