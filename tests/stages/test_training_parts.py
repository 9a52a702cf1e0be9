"""Schedule, augmentation, images, losses, precision and optimizer of the training loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_digits import save_digits
from torch import Generator, Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages import Dataset, ImageDataset, Interface
from edgepipe_stages._training.augment import augmented
from edgepipe_stages._training.evaluate import evaluate
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.layout import arranged, choose_layout
from edgepipe_stages._training.losses import cross_entropy, distillation
from edgepipe_stages._training.optimizer import optimizer_of
from edgepipe_stages._training.precision import has_groups, uses_bfloat16
from edgepipe_stages._training.schedule import learning_rate
from edgepipe_stages._training.settings import Augmentation, Training


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return ImageDataset.load(save_digits(tmp_path_factory.mktemp("digits") / "data", channels=3))


def test_schedule_warms_up_and_falls_to_zero() -> None:
    rates = [learning_rate(step, 100, 10, 0.5) for step in range(101)]
    assert rates[0] == pytest.approx(0.5 / 11)
    assert rates[10] == 0.5 == max(rates)
    assert rates[55] == pytest.approx(0.25)
    assert rates[100] == pytest.approx(0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(0, 1, 0, 0.5) == 0.5


def images_of_ramp(count: int = 40) -> Tensor:
    ramp = torch.arange(1, 1 + 8 * 8 * 3, dtype=torch.uint8).view(1, 8, 8, 3)
    return ramp.expand(count, -1, -1, -1).contiguous()


def test_shift_moves_each_image_by_a_few_pixels() -> None:
    images = images_of_ramp()
    fill = torch.zeros(3, dtype=torch.uint8)
    moved = augmented(images, Augmentation(shift=2), fill, Generator().manual_seed(1))
    seen = set()
    for before, after in zip(images.numpy(), moved.numpy(), strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[y : y + 8, x : x + 8], after)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 10


def test_flip_mirrors_about_half_of_the_images() -> None:
    images = images_of_ramp(200)
    fill = torch.zeros(3, dtype=torch.uint8)
    settings = Augmentation(shift=0, flip=True)
    flipped = augmented(images, settings, fill, Generator().manual_seed(1))
    changed = [not torch.equal(a, b) for a, b in zip(images, flipped, strict=True)]
    assert 70 < sum(changed) < 130
    assert all(
        torch.equal(b, a.flip(1)) for a, b, c in zip(images, flipped, changed, strict=True) if c
    )


def test_cutout_fills_one_square() -> None:
    images = images_of_ramp()
    fill = torch.tensor([201, 202, 203], dtype=torch.uint8)
    settings = Augmentation(shift=0, cutout=4)
    cut = augmented(images, settings, fill, Generator().manual_seed(1))
    for before, after in zip(images, cut, strict=True):
        gone = (after == fill).all(2)
        assert 4 <= int(gone.sum()) <= 16
        assert int(gone.sum()) == int(gone.any(0).sum()) * int(gone.any(1).sum())
        assert torch.equal(before[~gone], after[~gone])


def test_no_augmentation_changes_nothing() -> None:
    images = images_of_ramp(2)
    fill = torch.zeros(3, dtype=torch.uint8)
    assert augmented(images, Augmentation(shift=0), fill, Generator()) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_normalized_bit_by_bit_as_the_interface_says(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 9, channels), np.uint8)
    interface = Interface(
        7, 9, channels, (0.1307, 0.5, 0.41)[:channels], (0.3081, 0.21, 0.7)[:channels], ("a", "b")
    )
    images = Images(torch.from_numpy(values), torch.zeros(5, dtype=torch.int64), interface)
    normalized = images.normalized(images.pixels)
    assert np.array_equal(normalized.numpy(), interface.normalize(values))
    assert normalized.is_contiguous(memory_format=torch.channels_last)


def test_images_of_another_size_are_refused(data: Dataset) -> None:
    with pytest.raises(StageError, match="do not fit a model that takes 8 × 16 × 3"):
        Images.of(data.train, replace(data.interface, height=8))


def test_validation_images_are_a_stratified_part(data: Dataset) -> None:
    images = Images.of(data.train, data.interface)
    train, validation = images.split(0.2, seed=3)
    assert (len(train), len(validation)) == (240, 60)
    shares = validation.labels.bincount() / images.labels.bincount()
    assert float((shares - 0.2).abs().max()) < 0.03
    both = torch.cat([train.pixels, validation.pixels]).flatten(1)
    assert torch.equal(both.sum(0), images.pixels.flatten(1).sum(0))
    assert torch.equal(validation.pixels, images.split(0.2, seed=3)[1].pixels)
    assert not torch.equal(validation.pixels, images.split(0.2, seed=4)[1].pixels)
    everything, nothing = images.split(0.0, seed=3)
    assert (len(everything), len(nothing)) == (300, 0)


def test_too_few_images_for_validation(data: Dataset) -> None:
    images = Images.of(data.train, data.interface).sample(10, 0)
    with pytest.raises(StageError, match="10 training images are too few") as caught:
        images.split(0.02, seed=0)
    assert "validation_fraction: 0" in caught.value.render()


def test_distillation_is_hintons_loss() -> None:
    torch.manual_seed(0)
    scores, told = torch.randn(6, 4), torch.randn(6, 4)
    labels, images = torch.tensor([0, 1, 2, 3, 0, 1]), torch.zeros(6, 1)
    loss = distillation(lambda _: told, temperature=3.0, alpha=0.7, label_smoothing=0.0)
    p, q = (told / 3).softmax(1), (scores / 3).softmax(1)
    soft = (p * (p / q).log()).sum(1).mean() * 9
    hard = -scores.softmax(1)[range(6), labels].log().mean()
    expected = 0.7 * float(soft) + 0.3 * float(hard)
    assert float(loss(scores, labels, images)) == pytest.approx(expected, rel=1e-5)


def test_label_smoothing_reaches_the_loss() -> None:
    scores = torch.tensor([[20.0, 0.0]])
    labels = torch.tensor([0])
    assert float(cross_entropy(0.0)(scores, labels, scores)) < 1e-6
    assert float(cross_entropy(0.2)(scores, labels, scores)) == pytest.approx(2.0, rel=1e-3)


def test_bfloat16_is_chosen_by_rule() -> None:
    plain = nn.Sequential(nn.Conv2d(4, 4, 3))
    depthwise = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    amx = bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    assert not has_groups(plain)
    assert has_groups(depthwise)
    assert uses_bfloat16("auto", plain) == amx
    assert not uses_bfloat16("auto", depthwise)
    assert uses_bfloat16("bfloat16", depthwise)
    assert not uses_bfloat16("float32", plain)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_fused_optimizer_does_what_the_plain_one_does(name: str) -> None:
    """Fused kernels walk memory: a channels-last weight with another gradient would go wrong."""

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=False),
            nn.Conv2d(6, 6, 3, groups=6, bias=False),
            nn.BatchNorm2d(6),
            nn.Flatten(),
            nn.Linear(96, 4),
        )

    x = torch.randn(8, 3, 8, 8, generator=Generator().manual_seed(1))
    settings = Training(optimizer=name, learning_rate=0.05, weight_decay=0.1)
    fused, plain = network(), network()
    fused.to(memory_format=torch.channels_last)
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    reference = (
        torch.optim.AdamW(groups, lr=0.05)
        if name == "adamw"
        else torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    )
    ours = optimizer_of(fused, settings)
    for _ in range(4):
        for module, optimizer in ((fused, ours), (plain, reference)):
            optimizer.zero_grad()
            module(x.contiguous(memory_format=torch.channels_last)).square().mean().backward()
            optimizer.step()
    for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_evaluation_counts_and_keeps_the_mode(data: Dataset) -> None:
    class Oracle(nn.Module):
        """Tells the brightness of the first pixel."""

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot((x[:, 0, 0, 0] * 255).round().long(), 10) * 50.0

    pixels = torch.zeros(10, 16, 16, 3, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(10)
    labels = torch.arange(10)
    labels[:3] = 9
    interface = replace(data.interface, mean=(0.0,) * 3, std=(1.0,) * 3)
    oracle = Oracle().train()
    accuracy, loss = evaluate(oracle, Images(pixels, labels, interface), batch_size=4)
    assert accuracy == 0.7
    assert loss == pytest.approx(0.3 * 50, rel=1e-3)
    assert oracle.training


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_views_what_a_convolution_gives(channels: int) -> None:
    """Its user wrote x.view(…), which channels-last does not allow, for one channel neither."""

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(channels, 4, 3, 2, 1)
            self.second = nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.second(self.first(x))
            return x.view(len(x), -1)

    interface = Interface(8, 12, channels, (0.0,) * channels, (1.0,) * channels, ("a", "b"))
    views = Views()
    layout = choose_layout(views, interface)
    assert layout == torch.contiguous_format
    pixels = torch.zeros(5, 8, 12, channels, dtype=torch.uint8)
    images = Images(pixels, torch.zeros(5, dtype=torch.int64), interface, layout)
    views(images.normalized(pixels)).sum().backward()
    assert images.normalized(pixels).stride() == (96 * channels, 96, 12, 1)


def test_a_network_that_runs_with_channels_last_gets_it(data: Dataset) -> None:
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).train()
    assert choose_layout(convolution, data.interface) == torch.channels_last
    assert convolution[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert convolution.training
    image = arranged(torch.zeros(2, 3, 4, 4), torch.channels_last)
    assert image.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("channels", "safe"), [(16, True), (15, False), (8, False), (4, False)])
def test_a_convolution_that_onednn_overruns_is_kept_out_of_channels_last(
    data: Dataset, channels: int, safe: bool
) -> None:
    narrow = nn.Sequential(
        nn.Conv2d(3, channels, 3),
        nn.Conv2d(channels, 8, 1, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    layout = choose_layout(narrow, data.interface)
    assert layout == (torch.channels_last if safe else torch.contiguous_format)
    images = Images.of(data.train, data.interface, layout)
    for _ in range(5):
        narrow(images.normalized(images.pixels)).sum().backward()


def test_a_network_for_other_images(data: Dataset) -> None:
    with pytest.raises(StageError, match="does not run on images of 16 × 16 × 3") as caught:
        choose_layout(nn.Sequential(nn.Flatten(), nn.Linear(10, 2)), data.interface)
    assert "image_size" in caught.value.render()
