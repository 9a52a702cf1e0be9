"""data.image_folder: folders of images as data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import encode, fails, fill, load, zipped
from PIL import Image
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import Dataset
from edgepipe_stages.data.image_folder import ImageFolder


def test_train_and_test_folders(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path / "train", count=4)
    fill(tmp_path / "test", count=2)
    data = load(run_stage, tmp_path)
    assert data.interface.classes == ("blue", "green", "red")
    assert data.train.images.shape == (12, 8, 8, 3)
    assert data.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for split in (data.train, data.test):
        means = split.images.mean((1, 2))
        assert (means.argmax(1) == 2 - split.labels).all()


def test_one_level_is_split_in_each_class(run_stage: RunStage, tmp_path: Path) -> None:
    data = load(run_stage, fill(tmp_path, count=5), test_fraction=0.4)
    assert np.bincount(data.train.labels).tolist() == [3, 3, 3]
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    rows = {bytes(image) for image in np.concatenate([data.train.images, data.test.images])}
    assert len(rows) == 15


def test_what_is_not_used_is_said(run_stage: RunStage, tmp_path: Path) -> None:
    for name, count in {"Train": 4, "valid": 2, "extra": 1}.items():
        fill(tmp_path / name, count=count)
    (tmp_path / "cover.png").write_bytes(encode((1, 2, 3)))
    ran = run_stage(ImageFolder, {"path": str(tmp_path), "image_size": 8})
    data: Dataset = ran.load("data")
    assert (len(data.train), len(data.test)) == (12, 6)
    said = {kind: [] for kind in ("warning", "log")}
    for kind, event in ran.events:
        if kind in said:
            said[kind].append(event["message"])
    assert said["warning"] == [
        "the folder 'extra' is not used, with 3 images",
        "1 image lies in no class's folder, as cover.png",
    ]
    assert "test split: the folder 'valid'" in said["log"]


def test_a_zip_gives_what_its_folder_gives(run_stage: RunStage, tmp_path: Path) -> None:
    root = fill(tmp_path / "folder" / "photos" / "train", count=3).parent
    fill(root / "test", count=1)
    entries = {
        path.relative_to(tmp_path / "folder").as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*.png"))
    }
    entries |= {"__MACOSX/photos/train/red/._0.png": b"junk", "photos/README.txt": b"photos"}
    archive = zipped(tmp_path / "photos.zip", entries)
    outputs = [
        run_stage(ImageFolder, {"path": str(path), "image_size": 16}).outputs["data"]
        for path in (root, archive)
    ]
    one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in outputs)
    assert one == two


def test_classes_and_limits_choose(run_stage: RunStage, tmp_path: Path) -> None:
    root = fill(tmp_path, count=6)
    data = load(run_stage, root, classes=["red", "blue"], limit_per_class=4, test_fraction=0.5)
    assert data.interface.classes == ("red", "blue")
    assert (len(data.train), len(data.test)) == (4, 4)
    message, hint = fails(run_stage, root, classes=["red", "bleu"])
    assert message.endswith("has no class 'bleu'")
    assert hint == "did you mean 'blue'? classes: blue, green, red"


@pytest.mark.parametrize(
    ("resize", "columns"),
    [("crop", [(1, 1), (4, 4)]), ("stretch", [(1, 0), (3, 1), (6, 5)]), ("pad", [(0, 0), (7, 5)])],
)
def test_ways_to_resize(
    run_stage: RunStage, tmp_path: Path, resize: str, columns: list[tuple[int, int]]
) -> None:
    wide = np.zeros((8, 48, 3), np.uint8)
    wide[:, :] = (np.arange(48) // 8 * 40)[None, :, None]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(wide).save(tmp_path / name / f"{i}.png")
    image = load(run_stage, tmp_path, resize=resize).train.images[0, :, :, 0].astype(int)
    assert image.shape == (8, 8)
    if resize == "crop":
        assert (image[:, :4] == 80).all()
        assert (image[:, 4:] == 120).all()
    elif resize == "stretch":
        assert (np.diff(image[4]) > 0).all()
        assert (image == image[:1]).all()
    else:
        assert (image[:3] == 0).all()
        assert (image[5:] == 0).all()
        assert (np.diff(image[4]) > 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_kinds_of_images(run_stage: RunStage, tmp_path: Path, channels: int) -> None:
    gray = Image.new("L", (10, 10), 100)
    see_through = Image.new("RGBA", (10, 10), (100, 100, 100, 255))
    see_through.paste((0, 0, 0, 0), (0, 0, 10, 10))
    kinds = {
        "gray.png": gray,
        "palette.gif": gray.convert("P"),
        "cmyk.jpg": gray.convert("CMYK"),
        "sixteen.png": Image.fromarray(np.full((10, 10), 100 * 257, np.uint16)),
        "floats.tif": Image.fromarray(np.full((10, 10), 100 / 255, np.float32)),
        "sixteen.tif": Image.fromarray(np.full((10, 10), 100 * 257, np.uint16)),
        "sixteen.pgm": Image.fromarray(np.full((10, 10), 100 * 257, np.int32)),
        "bits.bmp": Image.new("1", (10, 10), 1),
        "photo.webp": gray.convert("RGB"),
        "see_through.png": see_through,
    }
    for name, image in kinds.items():
        for side in ("a", "b"):
            folder = tmp_path / side
            folder.mkdir(exist_ok=True)
            image.save(folder / name)
            image.save(folder / f"2{name}")
    data = load(run_stage, tmp_path, channels=channels, test_fraction=0.5)
    images = np.concatenate([data.train.images, data.test.images])
    assert images.shape[3] == channels
    white = (images == 255).all((1, 2, 3))
    assert white.sum() == 2 * 2 * 2
    assert (abs(images[~white].astype(int) - 100) <= 2).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.linspace(0, 255, 64, dtype=np.float32), "floats from 0 to 255, not from 0 to 1"),
        (np.linspace(-1, 1, 64, dtype=np.float32), "floats from -1 to 1, not from 0 to 1"),
        (np.full(64, np.nan, np.float32), "floats from nan to nan"),
        (np.arange(64, dtype=np.int32), "nothing says which is white"),
        (np.arange(64, dtype=np.int32) - 32, "nothing says which is white"),
    ],
)
def test_pixels_of_no_known_range(
    run_stage: RunStage, tmp_path: Path, pixels: np.ndarray, said: str
) -> None:
    fill(tmp_path)
    Image.fromarray(pixels.reshape(8, 8)).save(tmp_path / "blue" / "x.tif")
    message, _ = fails(run_stage, tmp_path)
    assert message.startswith("blue/x.tif: ")
    assert said in message
    assert len(load(run_stage, tmp_path, on_corrupt="skip").train) == 12


def test_photographs_are_turned_upright(run_stage: RunStage, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    left_dark = np.zeros((16, 16, 3), np.uint8)
    left_dark[:, 8:] = 200
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(left_dark).save(tmp_path / name / f"{i}.jpg", exif=exif, quality=95)
    image = load(run_stage, tmp_path).train.images[0]
    assert image[1].mean() < 20
    assert image[6].mean() > 180


def test_more_than_fits_into_memory(run_stage: RunStage, tmp_path: Path) -> None:
    stage = ImageFolder.model_validate_json('{"path": "x", "image_size": 512}', strict=True)
    with pytest.raises(StageError, match="of memory, this machine has"):
        stage._check_memory(10**9)
