"""The training loop: what it learns, and which weights it keeps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from small_trainings import digit_images, equal, loop_of, network, run, settings, trained
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages._training.evaluate import evaluate
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.loop import Loop
from edgepipe_stages._training.losses import cross_entropy
from edgepipe_stages._training.memory import freed_memory_kept
from edgepipe_stages._training.settings import Augmentation


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return digit_images(tmp_path_factory.mktemp("digits"))


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 0.02), ("sgd", 0.2)])
def test_it_learns(images: Images, optimizer: str, rate: float) -> None:
    chosen = settings(epochs=20, optimizer=optimizer, learning_rate=rate, validation_fraction=0.2)
    _, loop = trained(images, chosen)
    assert loop.history.loss[-1] < 0.5 * loop.history.loss[0]
    assert loop.history.validation_accuracy[-1] > 0.7
    assert loop.history.learning_rate[0] > loop.history.learning_rate[-1] > 0


def test_same_seed_same_weights(images: Images) -> None:
    first, _ = trained(images, settings())
    assert equal(first, trained(images, settings())[0])
    assert not equal(first, trained(images, settings(), seed=6)[0])


def test_every_image_is_seen_once_an_epoch_in_batches_of_one_size(images: Images) -> None:
    loop = loop_of(images, settings(batch_size=64, validation_fraction=0))
    seen = [0]
    loop.run_epoch(lambda count, *_: seen.append(count))
    sizes = [after - before for before, after in pairwise(seen)]
    assert sum(sizes) == len(images) == 300
    assert len(sizes) == 5
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 64


def test_best_weights_are_kept(images: Images) -> None:
    """At this learning rate the accuracy goes up and down, and the last epoch is not the best."""
    chosen = settings(epochs=6, learning_rate=0.3, optimizer="sgd", validation_fraction=0.3)
    loop = loop_of(images, chosen)
    snapshots = []
    while not loop.finished:
        loop.run_epoch()
        snapshots.append({n: t.clone() for n, t in loop.module.state_dict().items()})
    accuracies = loop.history.validation_accuracy
    assert accuracies[loop.best_epoch - 1] == max(accuracies)
    loop.restore_best()
    assert equal(dict(loop.module.state_dict()), snapshots[loop.best_epoch - 1])
    assert evaluate(loop.module, loop.validation)[0] == max(accuracies)


def test_without_validation_images_the_last_weights_are_the_best(images: Images) -> None:
    last, loop = trained(images, settings(validation_fraction=0))
    loop.restore_best()
    assert equal(last, dict(loop.module.state_dict()))
    assert loop.history.validation_accuracy == []


def test_early_stop(images: Images) -> None:
    """A learning rate this small changes no answer, so that no epoch is better than the first."""
    chosen = settings(
        epochs=50, learning_rate=1e-9, patience=3, optimizer="sgd", augment={"shift": 0}
    )
    network_without_norms = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    loop = Loop(network_without_norms, images, chosen, lambda s, *_: s.sum() * 0, seed=1)
    run(loop)
    assert (loop.best_epoch, loop.epoch) == (1, 4)


def test_a_loss_that_is_not_finite(images: Images) -> None:
    deep = nn.Sequential(nn.Flatten(), nn.Linear(256, 64), nn.Linear(64, 64), nn.Linear(64, 10))
    chosen = settings(optimizer="sgd", learning_rate=10.0)
    loop = Loop(deep, images, chosen, cross_entropy(0.0), seed=1)
    with pytest.raises(StageError) as caught:
        run(loop)
    text = caught.value.render()
    assert "the loss became nan in epoch" in text or "the loss became inf in epoch" in text
    assert f"of {loop.steps}, at learning rate" in text
    assert "a lower learning_rate (2.5)" in text
    assert "gradient_clip: 1" in text


def test_gradient_clip_bounds_the_step(images: Images) -> None:
    chosen = settings(
        optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=1.0, warmup_epochs=0.0,
        gradient_clip=1e-3, batch_size=512, validation_fraction=0, epochs=1,
    )  # fmt: skip
    before = {n: p.detach() for n, p in network().named_parameters()}
    weights, _ = trained(images, chosen)
    moved = sum(float((weights[n] - p).square().sum()) for n, p in before.items()) ** 0.5
    assert moved == pytest.approx(1e-3, rel=1e-2)


def test_bfloat16_trains_and_keeps_float32_weights(images: Images) -> None:
    weights, loop = trained(images, settings(precision="bfloat16", epochs=6))
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}
    assert loop.history.loss[-1] < 0.7 * loop.history.loss[0]


def test_a_constraint_holds_after_each_step(images: Images) -> None:
    module = network()
    weight = module[-1].weight

    @torch.no_grad()
    def half_is_zero() -> None:
        weight[:, ::2] = 0

    loop = Loop(
        module, images, settings(epochs=1), cross_entropy(0.0), seed=1, constraint=half_is_zero
    )
    loop.run_epoch()
    assert bool((weight[:, ::2] == 0).all())
    assert bool((weight[:, 1::2] != 0).all())


def test_augmentation_is_used(images: Images) -> None:
    plain, _ = trained(images, settings(epochs=1, augment={"shift": 0}))
    cut, _ = trained(images, settings(epochs=1, augment={"shift": 0, "cutout": 4}))
    assert not equal(plain, cut)
    assert Augmentation().flip is False


def test_memory_is_given_back() -> None:
    with freed_memory_kept():
        blocks = [torch.ones(2**20) for _ in range(8)]
        del blocks
    assert float(torch.ones(2**20).sum()) == 2**20
