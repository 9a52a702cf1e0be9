"""One small trained network in every format, made once a session by the real stages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
from small_digits import save_digits
from stage_runs import RunStage
from torch import nn

from edgepipe_stages import Dataset, ImageDataset, Interface, Split
from edgepipe_stages._onnx_export import to_onnx
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite
from edgepipe_stages.quantize.static import QuantizeStatic
from edgepipe_stages.train.classifier import TrainClassifier

PRECISIONS = ("float32", "float16", "dynamic", "int8")


@dataclass(frozen=True)
class Models:
    """Artifacts' folders."""

    data: Path
    torch: Path
    onnx: Path
    static: Path
    calibration: Path
    saved_model: Path
    tflite: dict[str, Path]


@cache
def digits_net(run_stage: RunStage, folder: Path, arch: str) -> Models:
    """A network trained on 16 × 16 digits, and what the stages make of it."""
    data = save_digits(Path(mkdtemp(dir=folder)) / "data", count=1797)
    params = {"model": {"arch": arch, "width": 0.5}, "epochs": 12, "learning_rate": 0.01}
    module = run_stage(TrainClassifier, params, data=data).outputs["model"]
    onnx = run_stage(ConvertOnnx, model=module).outputs["model"]
    static = run_stage(QuantizeStatic, {"samples": 100}, model=onnx, data=data).outputs
    saved = run_stage(ConvertSavedModel, model=onnx).outputs["model"]
    tflite = {}
    for precision in PRECISIONS:
        images = {"calibration": static["calibration"]} if precision == "int8" else {}
        ran = run_stage(ConvertTFLite, {"precision": precision}, model=saved, **images)
        tflite[precision] = ran.outputs["model"]
    return Models(data, module, onnx, static["model"], static["calibration"], saved, tflite)


def save_onnx(path: Path, module: nn.Module, shape: tuple[int, ...], classes: int = 4) -> Path:
    """Any module as an OnnxModel artifact; its weights are random but always the same."""
    from edgepipe_stages import OnnxModel

    path.mkdir(parents=True)
    model = to_onnx(module.eval(), torch.zeros(1, *shape), 14, True)
    (path / "model.onnx").write_bytes(model.SerializeToString())
    OnnxModel.save(path, {"interface": interface(shape, classes).as_json()})
    return path


def interface(shape: tuple[int, ...], classes: int = 4) -> Interface:
    """For images of channels × height × width."""
    channels, height, width = shape
    names = tuple(f"class{i}" for i in range(classes))
    return Interface(height, width, channels, (0.5,) * channels, (0.5,) * channels, names)


def save_noise(path: Path, shape: tuple[int, ...], classes: int = 4, count: int = 24) -> Path:
    """A data set of noise, each class as often as any other."""
    channels, height, width = shape
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, height, width, channels), np.uint8)
    split = Split(images, np.arange(count, dtype=np.int64) % classes)
    path.mkdir(parents=True)
    ImageDataset.save(path, Dataset(split, split, interface(shape, classes)))
    return path
