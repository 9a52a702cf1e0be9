"""Which of a folder's images are of which class, and for training or for testing."""

from __future__ import annotations

from collections import Counter
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

    Args:
        names: paths of files, and of folders, which end with a slash.

    Raises:
        StageError: folders are called like splits, but cannot be used as such.
    """
    visible = [name for name in names if not _is_hidden(name)]
    found = [PurePosixPath(name).parts for name in visible if _is_image(name)]
    # A zip need not list its folders.
    folders = _folders(PurePosixPath(f"{name}_").parts for name in visible)
    empty = sorted(folders - _folders(found))
    depth = 0
    while _is_wrapped(found, depth):
        depth += 1
    stray = [parts for parts in found if len(parts) <= depth + 1]
    tops: dict[str, list[_Parts]] = {}
    for parts in found:
        if len(parts) > depth + 1:
            tops.setdefault(parts[depth], []).append(parts)
    splits = _splits(tops, depth)
    if found:
        _check_splits(empty, found[0][:depth], splits)
    if not splits:
        said = (*_strays(stray), *_no_classes(empty, [found[0][:depth]] if found else []))
        return Layout(_by_class(found, depth), None, None, (*said, *_other_kinds(visible, depth)))
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
            *_no_classes(
                empty, [(*found[0][:depth], name) for name in (splits["train"], used) if name]
            ),
            *_other_kinds(visible, depth),
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


def _folders(files: Iterable[_Parts]) -> set[_Parts]:
    return {parts[:i] for parts in files for i in range(1, len(parts))}


def _check_splits(empty: list[_Parts], inside: _Parts, splits: dict[str, str]) -> None:
    """Refuse a split without an image, in whichever of the folders around everything it lies.

    Where there is a folder to test with, nobody misses the images of a validation split.
    """
    for parts in empty:
        role = _ROLES.get(parts[-1].casefold())
        if role is None or parts[:-1] != inside[: len(parts) - 1]:
            continue
        if role != "val" or "test" not in splits:
            raise StageError(
                f"the folder '{'/'.join(parts)}' is called like a split, but holds no image",
                "put images into it, in folders of classes; or remove it, and a part of each class"
                " is set aside to test with",
            )


def _no_classes(empty: list[_Parts], splits: list[_Parts]) -> Iterable[str]:
    """Folders that stand where classes do."""
    names = ["/".join(parts) for parts in empty if parts[:-1] in splits]
    if names:
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        listed = ", ".join(f"'{name}'" for name in names[:_FEW])
        yield f"no class is made of folders without an image: {listed}{more}"


_FEW = 5


def _other_kinds(visible: list[str], depth: int) -> Iterable[str]:
    """Files in folders that are no images by their names, by suffix."""
    others = [PurePosixPath(n) for n in visible if not n.endswith("/") and not _is_image(n)]
    counts = Counter(p.suffix.lower() or "no suffix" for p in others if len(p.parts) > depth + 1)
    if counts:
        listed = ", ".join(f"{suffix}: {count}" for suffix, count in counts.most_common())
        yield f"files that are no images by their names are left out: {listed}"


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
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not name.endswith("/")


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
