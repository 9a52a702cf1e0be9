"""data.image_folder: folders and zips, good ones and hostile ones."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunStage
from PIL import Image

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


def test_no_images(run_stage: RunStage, tmp_path: Path) -> None:
    message, hint = fails(run_stage, tmp_path)
    assert message == f"{tmp_path.name} holds no images in folders"
    assert "CLASS/*.jpg" in hint
    (tmp_path / "loose.png").write_bytes(encode((1, 2, 3)))
    assert fails(run_stage, tmp_path)[0] == message
    assert "holds no images" in fails(run_stage, zipped(tmp_path / "empty.zip", {}))[0]


def test_a_split_without_an_image(run_stage: RunStage, tmp_path: Path) -> None:
    root = fill(tmp_path / "photos" / "train").parent
    (root / "test" / "red").mkdir(parents=True)
    message, hint = fails(run_stage, root)
    assert message == "the folder 'test' is called like a split, but holds no image"
    assert "remove it" in hint
    entries = {
        path.relative_to(root.parent).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*.png"))
    }
    archive = zipped(tmp_path / "photos.zip", {**entries, "photos/test/red/": b""})
    assert "'photos/test'" in fails(run_stage, archive)[0]
    (root / "test" / "red").rmdir()
    (root / "test").rmdir()
    assert len(load(run_stage, root).test) == 3


def test_files_that_are_left_out_are_said(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "pink").mkdir()
    for i in range(3):
        (tmp_path / "red" / f"{i}.HEIC").write_bytes(b"of a telephone")
    (tmp_path / "blue" / "notes.txt").write_text("blue")
    ran = run_stage(ImageFolder, {"path": str(tmp_path), "image_size": 8})
    assert [event["message"] for kind, event in ran.events if kind == "warning"] == [
        "no class is made of folders without an image: 'pink'",
        "files that are no images by their names are left out: .heic: 3, .txt: 1",
    ]


def test_one_class(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path, classes={"cat": (1, 2, 3)})
    message, hint = fails(run_stage, tmp_path)
    assert message == f"{tmp_path.name} holds one class, 'cat'"
    assert "at least two classes" in hint


def test_a_class_too_small_to_split(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path)
    fill(tmp_path, classes={"rare": (9, 9, 9)}, count=1)
    assert fails(run_stage, tmp_path)[0] == (
        "class 'rare' has 1 image: too few to split into train and test"
    )


def test_different_classes_in_train_and_test(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", classes={"blue": (0, 0, 9), "red": (9, 0, 0), "pink": (9, 0, 9)})
    message, _ = fails(run_stage, tmp_path)
    assert message == (
        "train and test hold different classes: 'green' only in train, 'pink' only in test"
    )
    assert load(run_stage, tmp_path, classes=["red", "blue"]).interface.classes == ("red", "blue")


DAMAGE = {
    "empty": b"",
    "text": b"not an image",
    "truncated": encode((9, 8, 7), (64, 64), "JPEG")[:200],
    "damaged": encode((9, 8, 7), (64, 64))[:60] + b"\0" * 40,
}


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_a_corrupt_image_is_named_or_left_out(
    run_stage: RunStage, tmp_path: Path, name: str
) -> None:
    fill(tmp_path)
    (tmp_path / "green" / f"{name}.jpg").write_bytes(DAMAGE[name])
    message, hint = fails(run_stage, tmp_path)
    assert message.startswith(f"green/{name}.jpg: ")
    assert "0x" not in message
    assert "on_corrupt: skip" in hint
    params = {"path": str(tmp_path), "image_size": 8, "on_corrupt": "skip"}
    ran = run_stage(ImageFolder, params)
    data: Dataset = ran.load("data")
    assert len(data.train) + len(data.test) == 15
    warnings = [data["message"] for kind, data in ran.events if kind == "warning"]
    assert warnings == ["1 of 16 files are no valid images and were left out"]


def test_a_class_of_corrupt_images_only(run_stage: RunStage, tmp_path: Path) -> None:
    for split in ("train", "test"):
        fill(tmp_path / split)
    for path in (tmp_path / "test" / "red").iterdir():
        path.write_bytes(b"")
    message, _ = fails(run_stage, tmp_path, on_corrupt="skip")
    assert message == "no valid image of class 'red' is left in test"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 10)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("side", [9_000, 12_000, 100_000])
def test_an_image_that_claims_too_many_pixels(
    run_stage: RunStage, tmp_path: Path, side: int
) -> None:
    fill(tmp_path)
    (tmp_path / "red" / "bomb.png").write_bytes(bomb(side, side))
    message, _ = fails(run_stage, tmp_path)
    assert message.startswith("red/bomb.png: ")
    assert "pixels" in message


@pytest.mark.parametrize(
    "name", ["../out.png", "/etc/out.png", "a/../../out.png", "a\\..\\out.png", "C:/out.png"]
)
def test_a_zip_whose_paths_lead_outside(run_stage: RunStage, tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "hostile.zip", {"a/1.png": encode((1, 2, 3)), name: b""})
    message, _ = fails(run_stage, archive)
    assert message == f"hostile.zip holds '{name}', a path that leads out of it"


def test_a_zip_with_a_link(run_stage: RunStage, tmp_path: Path) -> None:
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a/1.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert fails(run_stage, path)[0] == "hostile.zip holds a link, 'a/1.png'"


def test_a_zip_that_is_none(run_stage: RunStage, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK\3\4 and no more")
    assert "is neither a folder nor a zip file" in fails(run_stage, path)[0]


def test_a_damaged_entry_is_a_corrupt_image(run_stage: RunStage, tmp_path: Path) -> None:
    entries = {f"{c}/{i}.png": encode((i, 0, 0)) for c in "ab" for i in range(3)}
    path = zipped(tmp_path / "photos.zip", entries)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    path.write_bytes(content)
    assert fails(run_stage, path)[0].startswith("a/0.png: Bad CRC-32")


def test_a_linked_folder_is_not_passed_over(run_stage: RunStage, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere")
    fill(tmp_path / "data", classes={"a": (1, 1, 1), "b": (2, 2, 2)})
    (tmp_path / "data" / "red").symlink_to(tmp_path / "elsewhere" / "red")
    assert fails(run_stage, tmp_path / "data")[0] == "red is a link to a folder"


def test_more_than_fits_into_memory(run_stage: RunStage, tmp_path: Path) -> None:
    stage = ImageFolder.model_validate_json('{"path": "x", "image_size": 512}', strict=True)
    with pytest.raises(StageError, match="of memory, this machine has"):
        stage._check_memory(10**9)
