"""A stage's training: what it tells as it goes on, and how it goes on after a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_trainings import KilledError, digit_images, equal, network, settings, trained

from edgepipe.stage import Context
from edgepipe_stages._training import fit as fit_module
from edgepipe_stages._training.fit import curves, fit
from edgepipe_stages._training.images import Images

ContextMaker = Callable[[], tuple[Context, list[tuple[str, dict[str, Any]]]]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return digit_images(tmp_path_factory.mktemp("digits"))


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
