"""Checkpoints of the training loop: it goes on to the same bytes, and refuses what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_trainings import KilledError, digit_images, equal, loop_of, run, settings, trained

from edgepipe_stages._training.checkpoint import load_checkpoint, save_checkpoint
from edgepipe_stages._training.images import Images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return digit_images(tmp_path_factory.mktemp("digits"))


@pytest.mark.parametrize("step", [1, 5, 9])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_loop_ends_with_the_same_bytes(
    images: Images, tmp_path: Path, optimizer: str, step: int
) -> None:
    """``step``: of the third epoch, after which it is killed; the last one ends the epoch."""

    chosen = settings(
        optimizer=optimizer, augment={"shift": 2, "flip": True, "cutout": 3}, patience=4
    )
    whole, whole_loop = trained(images, chosen)
    first = loop_of(images, chosen)
    assert first.steps == 9
    first.run_epoch()
    first.run_epoch()

    def killed(seen: int, loss: float, accuracy: float) -> None:
        if first.done == step:
            save_checkpoint(tmp_path / "a.checkpoint", first)
            raise KilledError

    with pytest.raises(KilledError):
        first.run_epoch(killed)
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]
    torch.manual_seed(99)
    second = loop_of(images, chosen)
    assert load_checkpoint(tmp_path / "a.checkpoint", second)
    assert (second.epoch, second.done, second.within) == (2, step, True)
    run(second)
    assert equal(whole, dict(second.module.state_dict()))
    assert equal(whole_loop.best, second.best)
    assert second.history == whole_loop.history
    assert (second.best_epoch, second.best_score) == (whole_loop.best_epoch, whole_loop.best_score)


def test_a_damaged_checkpoint_is_told_and_changes_nothing(images: Images, tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    loop = loop_of(images, settings())
    assert not load_checkpoint(path, loop)
    loop.run_epoch()
    save_checkpoint(path, loop)
    content = bytearray(path.read_bytes())
    fresh = loop_of(images, settings())
    before = {n: t.clone() for n, t in fresh.module.state_dict().items()}
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), path.read_bytes()[:-100], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.checkpoint is damaged"):
            load_checkpoint(path, fresh)
        assert equal(before, dict(fresh.module.state_dict()))
        assert fresh.epoch == 0
