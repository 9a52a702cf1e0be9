"""Artifact types that stages hand to each other: data sets and models, as plain data.

Images are uint8, N × H × W × C. Models take float32 images, normalized as their `Interface`
says. Arrays and weights are safetensors, descriptions are JSON; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from edgepipe.stage import Artifact, StageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives: one image input, one score a class.

    A pixel ``p`` of channel ``c`` (0 … 255) enters the model as ``(p / 255 - mean[c]) / std[c]``.
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    layout: Layout = "nchw"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The input's shape for one image, in the model's layout."""
        if self.layout == "nchw":
            return (1, self.channels, self.height, self.width)
        return (1, self.height, self.width, self.channels)

    def normalize(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 images, N × H × W × C, as the model takes them: float32 in its layout.

        Raises:
            StageError: the images have another size than the model takes.
        """
        import numpy as np

        if images.shape[1:] != (self.height, self.width, self.channels):
            raise StageError(
                f"images of {_times(images.shape[1:])} do not fit a model that takes"
                f" {_times((self.height, self.width, self.channels))} (height × width × channels)",
                "give the data stage the image_size and the channels that the model was made for",
            )
        mean = np.asarray(self.mean, np.float32)
        std = np.asarray(self.std, np.float32)
        x = (images.astype(np.float32) / np.float32(255) - mean) / std
        if self.layout == "nchw":
            x = x.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(x)

    def as_json(self) -> dict[str, Any]:
        """Plain data, for a description file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Interface:
        """The inverse of `as_json`. Raises StageError where something is missing."""
        try:
            return cls(
                height=int(value["height"]),
                width=int(value["width"]),
                channels=int(value["channels"]),
                mean=tuple(map(float, value["mean"])),
                std=tuple(map(float, value["std"])),
                classes=tuple(map(str, value["classes"])),
                layout=value.get("layout", "nchw"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StageError(
                f"the description of a model or data set is not valid: {error}"
            ) from error


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


@dataclass(frozen=True)
class Split:
    """Labelled images: uint8 N × H × W × C, and int64 N with numbers of classes."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Two splits, and how their pixels are normalized."""

    train: Split
    test: Split
    interface: Interface


class ImageDataset(Artifact):
    """A data set of labelled images, split into train and test. The value is a `Dataset`."""

    @classmethod
    def save(cls, path: Path, value: Dataset) -> None:
        write_json(path / "dataset.json", value.interface.as_json())
        _save_split(path / "train.safetensors", value.train)
        _save_split(path / "test.safetensors", value.test)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        return Dataset(
            train=_load_split(path / "train.safetensors"),
            test=_load_split(path / "test.safetensors"),
            interface=cls.interface(path),
        )

    @classmethod
    def interface(cls, path: Path) -> Interface:
        """How pixels are normalized, and the classes, without reading an image."""
        return Interface.from_json(read_json(path / "dataset.json"))

    @classmethod
    def load_test(cls, path: Path) -> Split:
        """The test split alone: it may be a small part of the whole."""
        return _load_split(path / "test.safetensors")

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        data = cls.load(path)
        for name, split in (("train", data.train), ("test", data.test)):
            _check_split(name, split, data.interface)


class Calibration(Artifact):
    """A few labelled images that stand for the rest, to find the ranges of activations.

    The value is a `Split` of training images together with their `Interface`.
    """

    @classmethod
    def save(cls, path: Path, value: tuple[Split, Interface]) -> None:
        split, interface = value
        write_json(path / "calibration.json", interface.as_json())
        _save_split(path / "calibration.safetensors", split)

    @classmethod
    def load(cls, path: Path) -> tuple[Split, Interface]:
        split = _load_split(path / "calibration.safetensors")
        return split, Interface.from_json(read_json(path / "calibration.json"))

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        _check_split("calibration", *cls.load(path))


class Model(Artifact):
    """Base of all models: the folder holds ``model.json``, with the model's ``interface``."""

    @classmethod
    def describe(cls, path: Path) -> dict[str, Any]:
        """The description: ``interface`` and whatever the type adds."""
        return read_json(path / "model.json")

    @classmethod
    def interface(cls, path: Path) -> Interface:
        """What the model takes and gives."""
        return Interface.from_json(cls.describe(path).get("interface", {}))

    @classmethod
    def save(cls, path: Path, value: Mapping[str, Any]) -> None:
        """Write the description; the model's own files are written beside it by the stage."""
        write_json(path / "model.json", dict(value))

    @classmethod
    def load(cls, path: Path) -> Path:
        """The folder: each runtime opens the files in its own way."""
        return path

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        cls.interface(path)


class TorchModel(Model):
    """A PyTorch model as data: ``model.json`` says which architecture, and ``weights.safetensors``.

    See `edgepipe_stages._torch_model` for the description and for how it becomes a module.
    """

    payload: ClassVar[str | None] = "weights.safetensors"


class OnnxModel(Model):
    """``model.onnx``, with its weights inside."""

    payload: ClassVar[str | None] = "model.onnx"


class SavedModel(Model):
    """A TensorFlow SavedModel in the folder ``saved_model``."""

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        if not (path / "saved_model" / "saved_model.pb").is_file():
            raise StageError("SavedModel: saved_model/saved_model.pb was not written")


class TFLiteModel(Model):
    """``model.tflite``; the description adds its ``precision``."""

    payload: ClassVar[str | None] = "model.tflite"

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        with (path / "model.tflite").open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise StageError("TFLiteModel: model.tflite is not a TFLite flatbuffer")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain data with sorted keys, so that equal values give equal bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read an object. Raises StageError where the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise StageError(f"{path.name} does not hold an object")
    return value


def _save_split(path: Path, split: Split) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    arrays = {
        "images": np.ascontiguousarray(split.images, np.uint8),
        "labels": np.ascontiguousarray(split.labels, np.int64),
    }
    save_file(arrays, path)


def _load_split(path: Path) -> Split:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        return Split(arrays["images"], arrays["labels"])
    except (OSError, KeyError, SafetensorError) as error:
        raise StageError(f"{path.name} cannot be read: {error}") from error


def _check_split(name: str, split: Split, interface: Interface) -> None:
    shape = (interface.height, interface.width, interface.channels)
    if split.images.ndim != 4 or split.images.shape[1:] != shape:
        raise StageError(f"{name}: images are {split.images.shape}, not N × {_times(shape)}")
    if len(split.images) != len(split.labels):
        raise StageError(f"{name}: {len(split.images)} images, {len(split.labels)} labels")
    if len(split) == 0:
        raise StageError(f"{name}: no images")
    if split.labels.min() < 0 or split.labels.max() >= len(interface.classes):
        raise StageError(
            f"{name}: labels reach from {split.labels.min()} to {split.labels.max()},"
            f" with {len(interface.classes)} classes"
        )
