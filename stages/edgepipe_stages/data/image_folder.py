"""data.image_folder: photographs in folders named by their class, or in a zip of such folders."""

from __future__ import annotations

import os
import unicodedata
from functools import partial
from pathlib import Path
from typing import Literal

from edgepipe.errors import did_you_mean
from edgepipe.stage import Context, Field, Stage, StageError, UserPath
from edgepipe_stages import ImageDataset, Split
from edgepipe_stages._image_files import Decoder, Read, Resize, decode_all, open_files
from edgepipe_stages._image_layout import Files, find_layout
from edgepipe_stages._images import NORMALIZE, Normalize, dataset, stratified_split


class ImageFolder(Stage):
    """Images in one folder a class: ``train/CLASS/*`` and ``test/CLASS/*``, or ``CLASS/*``.

    A folder ``val`` or ``valid`` serves where there is no ``test``; without either, a part of each
    class is set aside. A zip is read as it is.
    """

    outputs = {"data": ImageDataset}
    requires = ("pillow", "numpy")
    cpus = 0

    path: UserPath = Field(description="the folder, or a zip of it")
    image_size: int = Field(ge=8, le=512, description="height and width, in pixels")
    channels: Literal[1, 3] = Field(3, description="1: gray; 3: red, green and blue")
    resize: Resize = Field(
        "crop",
        description="crop: the middle, as large as it goes; stretch: all, distorted; pad: all,"
        " with black bars",
    )
    classes: tuple[str, ...] = Field(
        (), description="only these classes, in this order; default: all"
    )
    limit_per_class: int | None = Field(
        None, ge=1, description="keep at most so many images of each class folder; default: all"
    )
    test_fraction: float = Field(
        0.2, ge=0.01, le=0.9, description="of each class, where there is no folder 'test' or 'val'"
    )
    on_corrupt: Literal["error", "skip"] = Field(
        "error", description="what to do with a file that is no valid image"
    )
    normalize: Normalize = Field("dataset", description=NORMALIZE)

    def run(self, ctx: Context) -> None:
        path = ctx.project / self.path
        with open_files(path) as (names, read):
            layout = find_layout(names)
            for sentence in layout.left_out:
                ctx.warn(sentence)
            if layout.test_folder:
                ctx.log(f"test split: the folder '{layout.test_folder}'")
            train, test = layout.train, layout.test
            classes = self._classes(path, train, test)
            parts = [self._chosen(train, classes, ctx)]
            if test is not None:
                parts.append(self._chosen(test, classes, ctx))
            splits = self._decode(ctx, parts, read)
        if test is None:
            whole = splits[0]
            positions = stratified_split(whole.labels, self.test_fraction, ctx.seed, classes)
            splits = [Split(whole.images[part], whole.labels[part]) for part in positions]
        for name, split in zip(("train", "test"), splits, strict=True):
            for label, class_ in enumerate(classes):
                if label not in split.labels:
                    raise StageError(
                        f"no valid image of class '{class_}' is left in {name}",
                        "add images, or name the other classes in 'classes'",
                    )
        ctx.log(f"{len(splits[0])} images to train, {len(splits[1])} to test")
        ctx.save("data", dataset(splits[0], splits[1], classes, self.normalize))

    def _classes(self, path: Path, train: Files, test: Files | None) -> tuple[str, ...]:
        """The classes to use, in order."""
        wanted = tuple(dict.fromkeys(unicodedata.normalize("NFC", name) for name in self.classes))
        for name in wanted:
            if name not in train:
                raise StageError(
                    f"{path.name} has no class '{name}'", did_you_mean(name, train, "classes")
                )
        classes = wanted or tuple(sorted(train))
        if not classes:
            raise StageError(
                f"{path.name} holds no images in folders",
                "put the images into one folder a class: CLASS/*.jpg, or train/CLASS/*.jpg and"
                " test/CLASS/*.jpg",
            )
        if len(classes) < 2:
            raise StageError(
                f"{path.name} holds one class, '{classes[0]}'",
                "a classifier needs at least two classes: one folder for each",
            )
        if test is not None:
            differ = set(classes) ^ set(test) if not self.classes else set(classes) - set(test)
            if differ:
                where = [f"'{name}' only in {_side(name, train)}" for name in sorted(differ)]
                raise StageError(
                    f"train and test hold different classes: {', '.join(where[:5])}"
                    + (f" and {len(where) - 5} more" if len(where) > 5 else ""),
                    "give both the same folders, or name those to use in 'classes'",
                )
        return classes

    def _chosen(
        self, files: Files, classes: tuple[str, ...], ctx: Context
    ) -> list[tuple[str, int]]:
        """Files with their labels, by class and name; a limit leaves a random choice."""
        chosen = []
        rng = ctx.rng()
        for label, class_ in enumerate(classes):
            members = files[class_]
            if self.limit_per_class is not None and self.limit_per_class < len(members):
                members = sorted(rng.sample(members, self.limit_per_class))
            chosen += [(name, label) for name in members]
        return chosen

    def _decode(self, ctx: Context, parts: list[list[tuple[str, int]]], read: Read) -> list[Split]:
        import numpy as np

        total = sum(map(len, parts))
        self._check_memory(total)
        decoder = Decoder(self.image_size, self.channels, self.resize)
        splits, done, skipped = [], 0, []
        for part in parts:
            names = [name for name, _ in part]
            report = partial(_report, ctx, done, total)
            images, bad = decode_all(names, read, decoder, ctx.threads, report)
            done += len(part)
            skipped += [f"{names[i]}: {reason}" for i, reason in bad.items()]
            kept = np.array([i not in bad for i in range(len(part))])
            labels = np.array([label for _, label in part], np.int64)
            splits.append(Split(images if not bad else images[kept], labels[kept]))
        if skipped and self.on_corrupt == "error":
            more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
            raise StageError(
                f"{skipped[0]}{more}",
                "repair or remove the file, or leave such files out with 'on_corrupt: skip'",
            )
        if skipped:
            ctx.warn(f"{len(skipped)} of {total} files are no valid images and were left out")
            for line in skipped:
                ctx.log(f"left out: {line}")
        return splits

    def _check_memory(self, count: int) -> None:
        # Splitting and writing hold a second copy.
        needed = 2 * count * self.image_size**2 * self.channels
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > available:
            raise StageError(
                f"{count} images of {self.image_size} × {self.image_size} pixels need"
                f" {needed / 1e9:.1f} GB of memory, this machine has {available / 1e9:.1f}",
                "lower image_size, or set limit_per_class",
            )


def _report(ctx: Context, before: int, total: int, done: int) -> None:
    ctx.progress(before + done, total)


def _side(name: str, train: Files) -> str:
    return "train" if name in train else "test"
