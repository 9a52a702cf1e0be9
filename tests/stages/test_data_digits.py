"""data.digits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from stage_runs import RunStage

from edgepipe_stages import Dataset
from edgepipe_stages.data.digits import Digits


def test_all_digits_are_there_once_in_both_splits_alike(run_stage: RunStage) -> None:
    data: Dataset = run_stage(Digits, {"image_size": 16, "test_fraction": 0.25}).load("data")
    assert data.interface.classes == tuple("0123456789")
    assert data.train.images.shape == (len(data.train), 16, 16, 1)
    counts = np.bincount(load_digits().target)
    test_counts = np.bincount(data.test.labels)
    assert (np.bincount(data.train.labels) + test_counts == counts).all()
    assert (abs(test_counts - counts / 4) <= 0.5).all()


def test_at_its_own_size_the_shades_are_unchanged(run_stage: RunStage) -> None:
    data: Dataset = run_stage(Digits, {"image_size": 8, "test_fraction": 0.5}).load("data")
    both = np.concatenate([data.train.images, data.test.images])[..., 0]
    shades = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    assert sorted(map(bytes, both)) == sorted(map(bytes, shades))


def test_scaled_up_a_digit_looks_the_same(run_stage: RunStage) -> None:
    small: Dataset = run_stage(Digits, {"image_size": 8}).load("data")
    large: Dataset = run_stage(Digits, {"image_size": 32, "channels": 3}).load("data")
    assert (large.train.labels == small.train.labels).all()
    assert (large.train.images == large.train.images[..., :1]).all()
    back = large.train.images[..., 0].reshape(-1, 8, 4, 8, 4).mean((2, 4))
    assert abs(back - small.train.images[..., 0]).mean() < 20


def test_normalization(run_stage: RunStage) -> None:
    data: Dataset = run_stage(Digits, {"image_size": 16}).load("data")
    pixels = data.train.images / 255
    assert data.interface.mean == (round(float(pixels.mean()), 4),)
    assert data.interface.std == (round(float(pixels.std()), 4),)
    normalized = data.interface.normalize(data.train.images)
    assert normalized.shape == (len(data.train), 1, 16, 16)
    assert abs(normalized.mean()) < 1e-3
    assert abs(normalized.std() - 1) < 1e-3
    params = {"image_size": 8, "channels": 3}
    imagenet = run_stage(Digits, params | {"normalize": "imagenet"}).load("data").interface
    assert imagenet.mean == (0.485, 0.456, 0.406)
    half = run_stage(Digits, params | {"normalize": "half"}).load("data").interface
    assert (half.mean, half.std) == ((0.5,) * 3, (0.5,) * 3)


def test_the_seed_chooses_the_split_and_nothing_else_does(run_stage: RunStage) -> None:
    def files(seed: int) -> dict[str, bytes]:
        folder = run_stage(Digits, {"image_size": 8}, seed=seed).outputs["data"]
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files(1)
    assert files(1) == first
    assert files(2)["test.safetensors"] != first["test.safetensors"]


@pytest.mark.parametrize("params", [{"image_size": 7}, {"channels": 2}, {"test_fraction": 1.0}])
def test_parameters_are_bounded(run_stage: RunStage, params: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        run_stage(Digits, params)
