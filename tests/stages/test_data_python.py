"""data.python: the user's function, and what it may return."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import Dataset
from edgepipe_stages.data.python import PythonData

SOURCE = """
import numpy as np

def images(n, shape=(6, 10, 3)):
    return (np.arange(n * np.prod(shape)) % 251).astype("uint8").reshape(n, *shape)

def whole(n=20):
    return images(n), np.arange(n) % 4

def pair():
    return (images(8), np.arange(8) % 2), (images(4), np.arange(4) % 2)

def lists():
    return [images(8), list(np.arange(8) % 2)], [images(4), list(np.arange(4) % 2)]

def named():
    return {"test": (images(4), [0, 1, 0, 1]), "train": (images(8), [0, 1] * 4)}

def two():
    return [images(2), [0, 1]]

def gray():
    return images(8, (6, 10)), [0, 1] * 4

def seeded(seed, n=8):
    return images(n) + np.uint8(seed), [0, 1] * (n // 2)

def nothing(): return None
def three(): return 1, 2, 3
def other_names(): return {"training": 1, "test": 2}
def floats(): return images(8) / 255, [0, 1] * 4
def channels_first(): return images(8, (3, 32, 32)), [0, 1] * 4
def empty(): return images(0), []
def float_labels(): return images(8), np.zeros(8)
def one_hot(): return images(8), np.eye(8, dtype=int)
def short(): return images(8), [0, 1]
def negative(): return images(8), [0, -1] * 4
def one_class(): return images(8), [0] * 8
def gap(): return images(8), [0, 2] * 4
def stray(): return images(8), [0, 1] * 3 + [0, 2**40]
def ragged(): return [*images(2), images(1, (7, 10, 3))[0]], [0, 1, 0]
def unseen(): return (images(8), [0, 2] * 4), (images(6), [0, 1, 2] * 2)
def sizes(): return (images(8), [0, 1] * 4), (images(8, (7, 10, 3)), [0, 1] * 4)
def fails(): return {}["eggs"]
value = 3
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data_python")
    (folder / "mydata.py").write_text(SOURCE)
    return folder


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("whole", 16, 4),
        ("pair", 8, 4),
        ("lists", 8, 4),
        ("named", 8, 4),
        ("gray", 6, 2),
        ("seeded", 6, 2),
    ],
)
def test_what_a_function_may_return(
    run_stage: RunStage, project: Path, name: str, train: int, test: int
) -> None:
    data: Dataset = run_stage(PythonData, {"function": f"mydata.py:{name}"}, project=project).load(
        "data"
    )
    assert (len(data.train), len(data.test)) == (train, test)
    channels = 1 if name == "gray" else 3
    assert data.train.images.shape[1:] == (6, 10, channels)
    assert (data.interface.height, data.interface.width) == (6, 10)
    if name == "named":
        assert data.test.labels.tolist() == [0, 1, 0, 1]
    both = np.concatenate([data.train.images, data.test.images])
    assert (
        len({bytes(image) for image in both})
        == max(train, test) + (name in {"whole"}) * 4 + (name in {"gray", "seeded"}) * 2
    )


def test_arguments_classes_and_seed(run_stage: RunStage, project: Path) -> None:
    params = {"function": "mydata.py:seeded", "kwargs": {"n": 40}, "classes": ["cat", "dog"]}
    data: Dataset = run_stage(PythonData, params, project=project, seed=3).load("data")
    assert len(data.train) + len(data.test) == 40
    assert data.interface.classes == ("cat", "dog")
    other: Dataset = run_stage(PythonData, params, project=project, seed=4).load("data")
    assert (np.sort(other.train.images.ravel()) != np.sort(data.train.images.ravel())).any()


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nothing", "the function returned a NoneType", "return (images, labels)"),
        ("three", "the function returned a tuple", "return (images, labels)"),
        ("other_names", "the function returned a dict of ['test', 'training']", "'train': "),
        ("floats", "images of data are float64", "(images * 255).round().astype('uint8')"),
        ("channels_first", "have the shape (8, 3, 32, 32)", "transpose(0, 2, 3, 1)"),
        ("empty", "have the shape (0, 6, 10, 3)", "N × height × width × channels"),
        ("float_labels", "labels of data are float64", "whole numbers"),
        ("one_hot", "data has 8 images and labels of the shape (8, 8)", "not a row of scores"),
        ("short", "data has 8 images and labels of the shape (2,)", "one label an image"),
        ("negative", "a label of data is -1", "count from 0"),
        ("one_class", "all images have one class", "at least two"),
        ("gap", "class '1' has 0 images", "too few"),
        ("stray", "a label is 1099511627776, with 8 images", "numbers of classes"),
        ("ragged", "images of data differ in shape: (6, 10, 3), (7, 10, 3)", "one height"),
        ("sizes", "images of train are (6, 10, 3), those of test (7, 10, 3)", "one shape"),
        ("fails", "mydata.py:fails failed: KeyError: 'eggs'", "in fails: def fails()"),
        ("value", "mydata.py:value is no function", "name a function"),
        ("whale", "mydata.py has no 'whale'", "did you mean 'whole'?"),
        ("two", "class '0' has 1 image", "add images"),
    ],
)
def test_what_is_wrong_is_said(
    run_stage: RunStage, project: Path, name: str, message: str, hint: str
) -> None:
    with pytest.raises(StageError) as caught:
        run_stage(PythonData, {"function": f"mydata.py:{name}"}, project=project)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert hint in problem.hint or hint in problem.message


def test_a_class_that_is_tested_only_is_a_warning(run_stage: RunStage, project: Path) -> None:
    params = {"function": "mydata.py:unseen", "classes": ["cat", "dog", "cow"]}
    ran = run_stage(PythonData, params, project=project)
    warnings = [event["message"] for kind, event in ran.events if kind == "warning"]
    assert warnings == ["train has no image of class dog: no model can learn it"]


def test_more_labels_than_names(run_stage: RunStage, project: Path) -> None:
    params = {"function": "mydata.py:whole", "classes": ["a", "b"]}
    with pytest.raises(StageError, match="a label is 3, with names for 2 classes"):
        run_stage(PythonData, params, project=project)
