"""Folders and zip files of images."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import Dataset
from edgepipe_stages.data.image_folder import ImageFolder

COLORS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def encode(color: tuple[int, ...], size: tuple[int, int] = (12, 9), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind)
    return file.getvalue()


def fill(root: Path, *, classes: dict[str, tuple[int, ...]] = COLORS, count: int = 5) -> Path:
    for name, color in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.png").write_bytes(encode((*color[:2], color[2] // 10 * 10 + i)))
    return root


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def load(run_stage: RunStage, path: Path, **params: Any) -> Dataset:
    ran = run_stage(ImageFolder, {"path": str(path), "image_size": 8, **params})
    data: Dataset = ran.load("data")
    return data


def fails(run_stage: RunStage, path: Path, **params: Any) -> tuple[str, str]:
    with pytest.raises(StageError) as caught:
        load(run_stage, path, **params)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.message, problem.hint
