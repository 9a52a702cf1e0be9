"""data.image_folder: what is missing, damaged or hostile."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from image_folders import encode, fails, fill, load, zipped
from stage_runs import RunStage

from edgepipe_stages import Dataset
from edgepipe_stages.data.image_folder import ImageFolder


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
