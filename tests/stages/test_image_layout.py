"""Folders of splits and classes, as people call and nest them."""

from __future__ import annotations

import unicodedata
from itertools import product

import pytest

from edgepipe.stage import StageError
from edgepipe_stages._image_layout import find_layout


def files(*folders: str, count: int = 2) -> list[str]:
    return [f"{folder}/{i}.png" for folder in folders for i in range(count)]


def classes(*splits: str) -> list[str]:
    return files(*(f"{split}/{name}" for split, name in product(splits, "ab")))


@pytest.mark.parametrize("wrapper", ["", "photos/", "a/b/"])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAIN", "valid"),
        ("train", "validation"),
        ("Training", "Val"),
    ],
)
def test_splits_by_their_usual_names(wrapper: str, train: str, test: str) -> None:
    found = find_layout(classes(f"{wrapper}{train}", f"{wrapper}{test}"))
    assert found.train == {name: files(f"{wrapper}{train}/{name}") for name in "ab"}
    assert found.test == {name: files(f"{wrapper}{test}/{name}") for name in "ab"}
    assert found.test_folder == test
    assert not found.left_out


def test_a_validation_split_beside_a_test_split_is_left_out() -> None:
    found = find_layout(classes("train", "valid", "test"))
    assert found.test_folder == "test"
    assert found.left_out == ("the folder 'valid' is not used, with 4 images",)


@pytest.mark.parametrize("wrapper", ["", "photos/", "train/"])
def test_classes_with_images_beside_them(wrapper: str) -> None:
    found = find_layout(
        [f"{wrapper}cover.png", *classes(f"{wrapper}cats"), *files(f"{wrapper}dogs")]
    )
    assert {name: len(paths) for name, paths in found.train.items()} == {"cats": 4, "dogs": 2}
    assert found.test is None
    assert found.left_out == (f"1 image lies in no class's folder, as {wrapper}cover.png",)


def test_images_beside_the_classes_of_a_split() -> None:
    found = find_layout([*classes("train", "test"), "train/x.png", "test/y.png"])
    assert found.left_out == ("2 images lie in no class's folder, as train/x.png",)


def test_a_class_may_be_called_like_a_split() -> None:
    found = find_layout(files("car", "bus", "train"))
    assert sorted(found.train) == ["bus", "car", "train"]
    assert found.test is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (classes("val", "test"), "there is no folder to train from beside 'test' and 'val'"),
        (classes("test") + files("a", "b"), "there is no folder to train from beside 'test'"),
        (classes("train", "Training", "test"), "the folders 'Training' and 'train' are both"),
        (classes("train", "val", "valid"), "the folders 'val' and 'valid' are both"),
        (files("train", "test"), "the folder 'test' is called like a split, but its images lie in"),
        (classes("train") + files("test"), "the folder 'test' is called like a split, but"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(StageError) as caught:
        find_layout(names)
    (problem,) = caught.value.problems
    assert problem.message.startswith(said)
    assert problem.hint


def test_one_name_in_two_unicode_forms_is_one_class() -> None:
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    assert composed != decomposed
    found = find_layout(files(f"train/{decomposed}", "train/b", f"test/{composed}", "test/b"))
    assert found.test is not None
    assert found.train.keys() == found.test.keys() == {composed, "b"}
    assert found.train[composed] == files(f"train/{decomposed}")


def test_hidden_files_and_other_files_are_no_images() -> None:
    names = [".cache/a/1.png", "__MACOSX/a/1.png", "a/._1.png", "a/notes.txt", *files("a", "b")]
    assert find_layout(names).train == {name: files(name) for name in "ab"}


@pytest.mark.parametrize("wrapper", ["", "photos/"])
@pytest.mark.parametrize("role", ["test", "Val", "train"])
@pytest.mark.parametrize("inside", ["", "a/", "a/notes.txt", "a/0.heic"])
def test_a_split_without_an_image_is_refused(wrapper: str, role: str, inside: str) -> None:
    other = "train" if role != "train" else "test"
    names = [*classes(f"{wrapper}{other}"), f"{wrapper}{role}/{inside}"]
    with pytest.raises(StageError) as caught:
        find_layout(names)
    (problem,) = caught.value.problems
    if role == "train" and wrapper + inside:
        assert "train" in problem.message
    else:
        assert problem.message.startswith(
            f"the folder '{wrapper}{role}' is called like a split, but"
        )
    assert problem.hint


def test_a_validation_split_without_an_image_beside_a_test_split_is_no_matter() -> None:
    assert find_layout([*classes("train", "test"), "val/", "val/a/"]).test_folder == "test"


@pytest.mark.parametrize("wrapper", ["", "photos/"])
def test_folders_without_an_image_are_no_classes(wrapper: str) -> None:
    flat = [
        *files(f"{wrapper}a", f"{wrapper}b/inner"),
        f"{wrapper}c/",
        f"{wrapper}b/more/",
        ".git/",
    ]
    found = find_layout(flat)
    assert found.train.keys() == {"a", "b"}
    assert found.left_out == (f"no class is made of folders without an image: '{wrapper}c'",)
    split = [*classes(f"{wrapper}train", f"{wrapper}test"), f"{wrapper}test/c/"]
    assert find_layout(split).left_out == (
        f"no class is made of folders without an image: '{wrapper}test/c'",
    )


def test_files_of_other_kinds_are_counted() -> None:
    names = [*classes("train", "test"), "README.md", "train/a/1.HEIC", "train/b/2.heic"]
    names += ["test/a/notes", "test/a/.DS_Store", "__MACOSX/train/a/1.heic"]
    assert find_layout(names).left_out == (
        "files that are no images by their names are left out: .heic: 2, no suffix: 1",
    )
    assert find_layout(["a/1.heic", "b/1.heic"]).left_out == (
        "files that are no images by their names are left out: .heic: 2",
    )
