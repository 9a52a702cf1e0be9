"""Which of a folder's images are of which class, and for training or for testing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from unicodedata import normalize

from edgepipe.stage import StageError
from edgepipe_stages._image_files import SUFFIXES

Files = dict[str, list[str]]
"""Image files by class."""

_ROLES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""What a folder of a split is called, in any case."""

_Parts = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What was found."""

    train: Files
    test: Files | None
    """None where there is one split only."""
    test_folder: str | None
    left_out: tuple[str, ...]
    """What is there and not used, in sentences."""


def find_layout(names: Iterable[str]) -> Layout:
    """Sort image files: ``train/CLASS/*`` and ``test/CLASS/*``, or ``CLASS/*``.

    Folders of splits are known by their usual names; a validation split serves as the test split
    where there is no other. A folder around everything is passed over. Names of classes that
    differ in the Unicode form only are the same.

    Raises:
        StageError: folders are called like splits, but cannot be used as such.
    """
    found = [PurePosixPath(name).parts for name in names if _is_image(name)]
    depth = 0
    while _is_wrapped(found, depth):
        depth += 1
    stray = [parts for parts in found if len(parts) <= depth + 1]
    tops: dict[str, list[_Parts]] = {}
    for parts in found:
        if len(parts) > depth + 1:
            tops.setdefault(parts[depth], []).append(parts)
    splits = _splits(tops, depth)
    if not splits:
        return Layout(_by_class(found, depth), None, None, tuple(_strays(stray)))
    used = splits.get("test") or splits.get("val")
    unused = sorted(tops.keys() - {splits["train"], used})
    for folder in filter(None, (splits["train"], used)):
        stray += [parts for parts in tops[folder] if len(parts) <= depth + 2]
    return Layout(
        _by_class(tops[splits["train"]], depth + 1),
        _by_class(tops[used], depth + 1) if used else None,
        used,
        (
            *(
                f"the folder '{name}' is not used, with {_images(len(tops[name]))}"
                for name in unused
            ),
            *_strays(stray),
        ),
    )


def _is_wrapped(found: list[_Parts], depth: int) -> bool:
    """Whether one folder holds everything, as in many a zip; images may lie beside the classes."""
    inside = [parts for parts in found if len(parts) > depth + 2]
    one = len({parts[depth] for parts in found if len(parts) > depth + 1}) == 1
    several = len({parts[depth + 1] for parts in inside}) > 1
    return one and bool(inside) and (several or len(inside) == len(found))


def _splits(tops: dict[str, list[_Parts]], depth: int) -> dict[str, str]:
    """The folder of each role; empty where the folders are classes."""
    named = [name for name in sorted(tops) if name.casefold() in _ROLES]
    flat = [name for name in named if all(len(parts) <= depth + 2 for parts in tops[name])]
    # A vehicle may be a train, and then its images lie in its folder.
    if not named or (flat == named and len(named) == 1 < len(tops)):
        return {}
    listed = " and ".join(f"'{name}'" for name in named)
    if flat:
        raise StageError(
            f"the folder '{flat[0]}' is called like a split, but its images lie in no folders of"
            " classes",
            f"put them into folders, as in {flat[0]}/CLASS/*.jpg; move the folder away if nobody"
            " knows their classes, or give it another name if it is a class",
        )
    splits: dict[str, str] = {}
    for name in named:
        role = _ROLES[name.casefold()]
        if role in splits:
            raise StageError(
                f"the folders '{splits[role]}' and '{name}' are both called like the same split",
                "keep one of them there",
            )
        splits[role] = name
    if "train" not in splits:
        raise StageError(
            f"there is no folder to train from beside {listed}",
            "call one 'train'; if these are classes, give them other names",
        )
    return splits


def _strays(stray: list[_Parts]) -> Iterable[str]:
    if stray:
        lie = "lies" if len(stray) == 1 else "lie"
        yield f"{_images(len(stray))} {lie} in no class's folder, as {'/'.join(stray[0])}"


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _by_class(found: list[_Parts], depth: int) -> Files:
    files: Files = {}
    for parts in found:
        if len(parts) > depth + 1:
            files.setdefault(normalize("NFC", parts[depth]), []).append("/".join(parts))
    return files


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden
