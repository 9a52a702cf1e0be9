"""How fast the shared training loop is: against a bare loop, and against a tutorial's loop.

    python benchmarks/training.py [--threads 2] [--rounds 12] [--stem imagenet] [--json FILE]

Three loops train MobileNetV2 × 0.5 on scikit-learn's digits at 32 × 32, in batches of 64:

- edgepipe: the loop of train.classifier as a stage runs it, with augmentation, progress, history;
- bare: a few lines of plain torch with the same arithmetic (channels-last, fused AdamW, the same
  shifts, normalization and schedule) and the same settings of the process;
- tutorial: a DataLoader over a TensorDataset of normalized images, AdamW as it comes, contiguous
  float32, in a process as Python starts it.

Each has a process of its own. They take turns, an epoch at a time, so that a busy neighbor meets
all of them. The first epoch is not counted. Two threads that lose a core to a neighbor stall for
seconds: where medians and best differ much, the best epochs say more, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

BATCH = 64
IMAGES = 20 * BATCH
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
SHIFT = 2
LOOPS = ("edgepipe", "bare", "tutorial")

Epoch = Callable[[], None]


def context(**outputs: Path) -> Any:
    """As a worker makes one; what is told is thrown away."""
    from edgepipe.stage import Context
    from edgepipe_stages.data.digits import Digits

    return Context(
        node="benchmark",
        seed=7,
        threads=1,
        scratch_path=Path(),
        project=Path(),
        input_types={},
        output_types=Digits.outputs,
        input_paths={},
        output_paths=outputs,
    )


def digits() -> Any:
    """The split and the interface that data.digits makes, with the first `IMAGES`."""
    from edgepipe_stages import ImageDataset, Split
    from edgepipe_stages.data.digits import Digits

    with TemporaryDirectory() as folder:
        Digits(image_size=32, channels=3).run(context(data=Path(folder)))
        data = ImageDataset.load(Path(folder))
    return Split(data.train.images[:IMAGES], data.train.labels[:IMAGES]), data.interface


def network(stem: str) -> Any:
    """MobileNetV2 × 0.5 with random weights; ``stem`` as in a pipeline."""
    import torch

    from edgepipe_stages._torch_model import build

    torch.manual_seed(7)
    architecture = {"arch": "mobilenet_v2", "width": 0.5, "stem": stem}
    return build(architecture, digits()[1], lambda name: None)


def edgepipe_loop(stem: str, epochs: int, threads: int) -> Epoch:
    """`Loop`, watched as `fit` watches it."""
    from edgepipe_stages._torch_model import prepare_torch
    from edgepipe_stages._training.fit import Progress
    from edgepipe_stages._training.images import Images
    from edgepipe_stages._training.layout import choose_layout
    from edgepipe_stages._training.loop import Loop
    from edgepipe_stages._training.losses import cross_entropy
    from edgepipe_stages._training.settings import Augmentation, Training

    prepare_torch(7, threads)
    module = network(stem)
    split, interface = digits()
    images = Images.of(split, interface, choose_layout(module, interface))
    settings = Training(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        augment=Augmentation(shift=SHIFT),
        validation_fraction=0,
        precision="float32",
    )
    loop = Loop(module, images, settings, cross_entropy(0.0), seed=7)
    progress = Progress(context(), loop)
    return lambda: loop.run_epoch(progress.step)


def bare_loop(stem: str, epochs: int, threads: int) -> Epoch:
    """The same arithmetic with nothing around it."""
    import torch
    from torch.nn import functional

    from edgepipe_stages._torch_model import prepare_torch

    prepare_torch(7, threads)
    split, interface = digits()
    pixels, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    module = network(stem).to(memory_format=torch.channels_last).train()
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)
    mean = torch.tensor(interface.mean).repeat(interface.width)
    std = torch.tensor(interface.std).repeat(interface.width)
    generator = torch.Generator().manual_seed(7)
    side = torch.arange(32)
    steps = IMAGES // BATCH
    done = 0

    def epoch() -> None:
        nonlocal done
        for batch in torch.randperm(len(pixels), generator=generator).split(BATCH):
            padded = torch.zeros(BATCH, 32 + 2 * SHIFT, 32 + 2 * SHIFT, 3, dtype=torch.uint8)
            padded[:, SHIFT:-SHIFT, SHIFT:-SHIFT] = pixels[batch]
            down, right = torch.randint(0, 2 * SHIFT + 1, (2, BATCH, 1), generator=generator)
            rows, columns = (down + side)[:, :, None], (right + side)[:, None, :]
            x = padded[torch.arange(BATCH)[:, None, None], rows, columns]
            x = x.flatten(2).float().div_(255).sub_(mean).div_(std)
            x = x.view(BATCH, 32, 32, 3).permute(0, 3, 1, 2)
            rate = (
                (done + 1) / (steps + 1)
                if done < steps
                else 0.5 + 0.5 * math.cos(math.pi * (done - steps) / (epochs * steps - steps))
            )
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * rate
            optimizer.zero_grad()
            functional.cross_entropy(module(x), labels[batch]).backward()
            optimizer.step()
            done += 1

    return epoch


def tutorial_loop(stem: str, epochs: int, threads: int) -> Epoch:
    """What the first tutorial says: contiguous float32, default optimizer, a DataLoader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(threads)
    split, interface = digits()
    images = torch.from_numpy(interface.normalize(split.images))
    loader = DataLoader(
        TensorDataset(images, torch.from_numpy(split.labels)), batch_size=BATCH, shuffle=True
    )
    module = network(stem)
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))

    def epoch() -> None:
        module.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(module(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running += loss.item()

    return epoch


def work(loop: str, stem: str, rounds: int, threads: int) -> None:
    """Run in a child: an epoch for each line of stdin, its seconds to stdout."""
    from edgepipe_stages._training.memory import freed_memory_kept

    make = {"edgepipe": edgepipe_loop, "bare": bare_loop, "tutorial": tutorial_loop}[loop]
    epoch = make(stem, rounds + 1, threads)
    with ExitStack() as stack:
        if loop != "tutorial":
            stack.enter_context(freed_memory_kept())
        for _ in sys.stdin:
            started = time.perf_counter()
            epoch()
            print(time.perf_counter() - started, flush=True)


def measure(stem: str, rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of each counted epoch, by loop."""
    flags = ["--stem", stem, "--rounds", str(rounds), "--threads", str(threads)]
    children = {
        loop: subprocess.Popen(
            [sys.executable, __file__, "--loop", loop, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for loop in LOOPS
    }
    seconds: dict[str, list[float]] = {loop: [] for loop in LOOPS}
    for _ in range(rounds + 1):
        for loop, child in children.items():
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                raise SystemExit(f"the process of '{loop}' ended: {child.wait()}")
            seconds[loop].append(float(line))
    for child in children.values():
        child.communicate()
    return {loop: values[1:] for loop, values in seconds.items()}


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Images per second and the two ratios, of medians and of minima."""
    result: dict[str, Any] = {}
    for name, of in (("median", statistics.median), ("best", min)):
        speeds = {loop: IMAGES / of(values) for loop, values in seconds.items()}
        result[name] = {
            "images_per_second": speeds,
            "overhead_over_bare": speeds["bare"] / speeds["edgepipe"] - 1,
            "times_as_fast_as_tutorial": speeds["edgepipe"] / speeds["tutorial"],
        }
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--stem", default="imagenet", help="as in a pipeline (default: imagenet)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--loop", choices=LOOPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        work(given.loop, given.stem, given.rounds, given.threads)
        return
    seconds = measure(given.stem, given.rounds, given.threads)
    figures = summary(seconds)
    print(f"MobileNetV2 × 0.5, stem {given.stem}, 32 × 32, batch 64, {given.threads} threads")
    print(f"{'images/s':<12}{'median':>10}{'best':>10}")
    for loop in LOOPS:
        row = [figures[name]["images_per_second"][loop] for name in ("median", "best")]
        print(f"{loop:<12}{row[0]:>10.0f}{row[1]:>10.0f}")
    for name in ("median", "best"):
        overhead = figures[name]["overhead_over_bare"]
        times = figures[name]["times_as_fast_as_tutorial"]
        print(f"by {name}: {overhead:+.1%} over bare, {times:.2f} × tutorial")
    if any(statistics.median(values) > 1.3 * min(values) for values in seconds.values()):
        print("noisy: something else was running; go by the best, or run it again")
    if given.json:
        report = {"stem": given.stem, "threads": given.threads, "seconds": seconds, **figures}
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
