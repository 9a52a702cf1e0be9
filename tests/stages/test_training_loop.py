"""The training loop: what it learns, keeps, tells, and how it goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from small_digits import save_digits
from torch import Tensor, nn

from edgepipe.stage import Context, StageError
from edgepipe_stages import ImageDataset
from edgepipe_stages._training import fit as fit_module
from edgepipe_stages._training.checkpoint import load_checkpoint, save_checkpoint
from edgepipe_stages._training.evaluate import evaluate
from edgepipe_stages._training.fit import curves, fit
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.layout import choose_layout
from edgepipe_stages._training.loop import Loop
from edgepipe_stages._training.losses import cross_entropy
from edgepipe_stages._training.memory import freed_memory_kept
from edgepipe_stages._training.settings import Augmentation, Training

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    data = ImageDataset.load(save_digits(tmp_path_factory.mktemp("digits") / "data"))
    return Images.of(data.train, data.interface)


def network() -> nn.Module:
    """With all that keeps state: norms, dropout, a depthwise convolution."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def settings(**changes: Any) -> Training:
    return Training.model_validate({"epochs": 4, "learning_rate": 0.02, "batch_size": 32} | changes)


def loop_of(images: Images, chosen: Training, seed: int = 5) -> Loop:
    module = network()
    choose_layout(module, images.interface)
    return Loop(module, images, chosen, cross_entropy(0.0), seed=seed)


def run(loop: Loop) -> None:
    while not loop.finished:
        loop.run_epoch()


def trained(images: Images, chosen: Training, seed: int = 5) -> tuple[Tensors, Loop]:
    loop = loop_of(images, chosen, seed)
    run(loop)
    return {name: t.clone() for name, t in loop.module.state_dict().items()}, loop


def equal(a: Tensors, b: Tensors) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


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


class KilledError(Exception):
    """Stands for the end of the process."""


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


ContextMaker = Callable[[], tuple[Context, list[tuple[str, dict[str, Any]]]]]


@pytest.fixture
def context(tmp_path: Path) -> ContextMaker:
    def make() -> tuple[Context, list[tuple[str, dict[str, Any]]]]:
        events: list[tuple[str, dict[str, Any]]] = []
        made = Context(
            node="test", seed=5, threads=1, scratch_path=tmp_path, project=tmp_path,
            input_types={}, output_types={}, input_paths={}, output_paths={},
            report=lambda name, data: events.append((name, data)),
        )  # fmt: skip
        return made, events

    return make


def test_a_killed_fit_goes_on(
    images: Images, context: ContextMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fit_module, "CHECKPOINT_SHARE", 1e9)
    whole, ctx_module = network(), network()
    history = fit(context()[0], whole, images, settings(), name="whole")

    def killed_in_epoch_3(message: str) -> None:
        if "epoch 2/4" in message:
            raise KilledError

    ctx, _ = context()
    monkeypatch.setattr(ctx, "log", killed_in_epoch_3)
    with pytest.raises(KilledError):
        fit(ctx, ctx_module, images, settings())
    ctx, events = context()
    again = network()
    resumed = fit(ctx, again, images, settings())
    assert equal(dict(whole.state_dict()), dict(again.state_dict()))
    assert resumed == history
    logs = [data["message"] for name, data in events if name == "log"]
    assert logs[0] == "training: goes on after epoch 1, step 9 of 9 of the next"
    assert len(logs) == 4


def test_a_damaged_checkpoint_is_a_warning(images: Images, context: ContextMaker) -> None:
    ctx, events = context()
    (ctx.scratch / "training.checkpoint").write_bytes(b"x" * 100)
    history = fit(ctx, network(), images, settings(epochs=1))
    assert len(history.loss) == 1
    assert (
        "warning",
        {"message": "training.checkpoint is damaged: training starts anew"},
    ) in events


def test_progress_counts_images(images: Images, context: ContextMaker) -> None:
    ctx, events = context()
    module = network()
    history = fit(ctx, module, images, settings(epochs=2, validation_fraction=0.1))
    told = [data for name, data in events if name == "progress"]
    done = [data["done"] for data in told]
    assert done == sorted(done)
    assert {data["total"] for data in told} == {2 * 270}
    assert done[-1] == 2 * 270
    last = told[-1]["numbers"]
    assert last["epoch"] == 2
    assert last["loss"] == pytest.approx(history.loss[-1])
    assert 0 <= last["accuracy"] <= 1
    assert last["images_per_second"] > 0
    assert not module.training


def test_curves_join_trainings(images: Images) -> None:
    _, first = trained(images, settings(epochs=2))
    _, second = trained(images, settings(epochs=1, validation_fraction=0))
    joined = curves(first.history, second.history)
    assert joined["loss"] == {"x": [1, 2, 3], "y": first.history.loss + second.history.loss}
    assert joined["validation_accuracy"]["x"] == [1, 2]
    assert "validation_accuracy" not in curves(second.history)


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
