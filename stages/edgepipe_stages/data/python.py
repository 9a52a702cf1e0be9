"""data.python: images and labels from the user's own function."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgepipe.stage import Context, Field, Stage, StageError, UserCode
from edgepipe_stages import ImageDataset, Split
from edgepipe_stages._images import NORMALIZE, Normalize, dataset, stratified_split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHAPES = (
    "return (images, labels), ((images, labels), (images, labels)) for train and test, or"
    " {'train': (images, labels), 'test': (images, labels)}"
)


class PythonData(Stage):
    """Images and labels that a function returns: uint8 N × H × W × C, and whole numbers from 0.

    It returns ``(images, labels)``, of which a part is set aside for tests, or a pair of these,
    or ``{"train": …, "test": …}``. It is given ``seed`` if it takes one.
    """

    outputs = {"data": ImageDataset}
    requires = ("numpy",)

    function: UserCode = Field(description="FILE.py:NAME or MODULE:NAME")
    kwargs: dict[str, bool | int | float | str | None] = Field(
        {}, description="keyword arguments for the function"
    )
    classes: tuple[str, ...] = Field(
        (), description="names of the classes, in the order of their numbers; default: the numbers"
    )
    test_fraction: float = Field(
        0.2, ge=0.01, le=0.9, description="of each class, where the function does not split"
    )
    normalize: Normalize = Field("dataset", description=NORMALIZE)

    def run(self, ctx: Context) -> None:
        train, test = _parts(self._call(ctx))
        splits = [_split("train" if test is not None else "data", train)]
        if test is not None:
            splits.append(_split("test", test))
            if splits[0].images.shape[1:] != splits[1].images.shape[1:]:
                raise StageError(
                    f"images of train are {splits[0].images.shape[1:]}, those of test"
                    f" {splits[1].images.shape[1:]} (height, width, channels)",
                    "return images of one shape",
                )
        classes = self._classes(splits)
        if test is None:
            whole = splits[0]
            positions = stratified_split(whole.labels, self.test_fraction, ctx.seed, classes)
            splits = [Split(whole.images[part], whole.labels[part]) for part in positions]
        seen = set(splits[0].labels.tolist())
        absent = [name for label, name in enumerate(classes) if label not in seen]
        if absent:
            more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
            ctx.warn(
                f"train has no image of class {', '.join(absent[:5])}{more}: no model can learn it"
            )
        ctx.log(f"{len(splits[0])} images to train, {len(splits[1])} to test")
        ctx.save("data", dataset(splits[0], splits[1], classes, self.normalize))

    def _call(self, ctx: Context) -> Any:
        function: Callable[..., Any] = ctx.user_object(self.function)
        if not callable(function):
            raise StageError(f"{self.function} is no function", "name a function")
        kwargs = dict(self.kwargs)
        try:
            if "seed" in inspect.signature(function).parameters:
                kwargs.setdefault("seed", ctx.seed)
            return function(**kwargs)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise StageError(
                f"{self.function} failed: {type(error).__name__}: {error}",
                f"{last.filename}:{last.lineno}, in {last.name}: {last.line}",
            ) from error

    def _classes(self, splits: list[Split]) -> tuple[str, ...]:
        count = int(max(split.labels.max() for split in splits)) + 1
        images = sum(map(len, splits))
        if not self.classes and count > images:
            raise StageError(
                f"a label is {count - 1}, with {images} images: there would be more classes than"
                " images",
                "labels are the numbers of classes, from 0 on; where there are so many, name them"
                " in 'classes'",
            )
        classes = self.classes or tuple(map(str, range(count)))
        if len(classes) < count:
            raise StageError(
                f"a label is {count - 1}, with names for {len(classes)} classes",
                "labels count from 0: name every class in 'classes'",
            )
        if len(classes) < 2:
            raise StageError(
                "all images have one class", "a classifier needs at least two: labels 0 and 1"
            )
        return classes


def _parts(value: Any) -> tuple[Any, Any]:
    """What the function returned, as train and test; the latter None where it did not split."""
    if isinstance(value, Mapping):
        if set(value) != {"train", "test"}:
            raise StageError(f"the function returned a dict of {sorted(map(str, value))}", _SHAPES)
        return value["train"], value["test"]
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise StageError(f"the function returned a {type(value).__name__}", _SHAPES)
    if all(isinstance(part, tuple | list) and len(part) == 2 for part in value) and not _is_numbers(
        value[1]
    ):
        return value[0], value[1]
    return value, None


def _is_numbers(value: Any) -> bool:
    """Two labels in a list, and not a pair of arrays."""
    return all(isinstance(item, int) for item in value)


def _split(name: str, value: Any) -> Split:
    import numpy as np

    if not isinstance(value, tuple | list) or len(value) != 2:
        raise StageError(f"{name} is a {type(value).__name__}, not a pair", _SHAPES)
    images, labels = _array(f"images of {name}", value[0]), _array(f"labels of {name}", value[1])
    if images.dtype != np.uint8:
        hint = "return uint8, from 0 to 255"
        if images.dtype.kind == "f":
            hint += ": for floats from 0 to 1, (images * 255).round().astype('uint8')"
        raise StageError(f"images of {name} are {images.dtype}", hint)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        hint = "return N × height × width × channels, with 1 or 3 channels, or N × height × width"
        if images.ndim == 4 and images.shape[1] in (1, 3):
            hint += "; channels come last: images.transpose(0, 2, 3, 1)"
        raise StageError(f"images of {name} have the shape {images.shape}", hint)
    return Split(images, _labels(name, labels, len(images)))


def _array(what: str, value: Any) -> NDArray[Any]:
    import numpy as np

    try:
        return np.asarray(value)
    except ValueError as error:
        shapes = list(dict.fromkeys(str(np.shape(item)) for item in value))
        raise StageError(
            f"{what} differ in shape: {', '.join(shapes[:3])}{', …' * (len(shapes) > 3)}",
            "return them in one shape: images are resized to one height and width",
        ) from error


def _labels(name: str, labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    import numpy as np

    if labels.dtype.kind not in "iu":
        raise StageError(
            f"labels of {name} are {labels.dtype}", "return whole numbers, one an image, from 0"
        )
    if labels.shape != (count,):
        raise StageError(
            f"{name} has {count} images and labels of the shape {labels.shape}",
            "return one label an image: the number of its class, not a row of scores",
        )
    if labels.min() < 0:
        raise StageError(f"a label of {name} is {labels.min()}", "labels count from 0")
    return labels.astype(np.int64)
