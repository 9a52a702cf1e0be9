"""Says what a key is made of, and what differs between two of them, in the pipeline's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgepipe.digest import canonical
from edgepipe.plaindata import one_line

MOST = 3
"""How many changed definitions or files are named; of the others, only the number is said."""
MOST_VALUE = 60
"""Letters of a value that are shown."""

Manifest = Mapping[str, Any] | None
"""A fingerprint, or a folder's files, name → digest; None where it is no longer known."""


@dataclass(frozen=True)
class Change:
    """One difference between two keys."""

    what: str
    """The part of the key: params, contents, code, inputs, requires, seed, machine, …"""
    name: str
    """Which one of them: a dotted parameter, a file, a port, a distribution; may be empty."""
    text: str
    """The sentence for the user."""
    before: Any = None
    after: Any = None
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of code and files: names that are changed, new, gone."""

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        value: dict[str, Any] = {"what": self.what, "name": self.name, "text": self.text}
        if self.before is not None or self.after is not None:
            value |= {"before": self.before, "after": self.after}
        return value | {name: list(found) for name, found in self.details.items()}


Read = Callable[[str], tuple[Manifest, Manifest]]
"""The manifest of that name, before and after."""


def changes(
    node: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    read: Read = lambda name: (None, None),
    sources: Mapping[str, str] | None = None,
) -> list[Change]:
    """What differs between the data of two keys of a node.

    Args:
        node: its name.
        old: what the key was made of.
        new: what it is made of.
        read: gives the manifests.
        sources: input port → the output that feeds it.
    """
    found: list[Change] = []
    for part in sorted({*old, *new}, key=_rank):
        before, after = old.get(part), new.get(part)
        if _same(before, after):
            continue
        if part == "code":
            found.append(_code(*read("code")))
        elif part == "contents":
            found += _contents(node, before or {}, after or {}, read)
        elif part == "inputs":
            found += _inputs(before or {}, after or {}, sources or {})
        elif part == "requires":
            found += _versions(before or {}, after or {})
        else:
            found += _values(node, part, before, after)
    # Who wrote the old record may have been anybody.
    return [replace(change, text=one_line(change.text)) for change in found]


def _same(one: Any, two: Any) -> bool:
    """Equal, and of equal types: 1, 1.0 and true are three values."""
    return one == two and canonical(one) == canonical(two)


_ORDER = (
    "kind",
    "params",
    "contents",
    "seed",
    "code",
    "inputs",
    "requires",
    "environment",
    "python",
    "machine",
    "version",
)


def _rank(part: str) -> tuple[int, str]:
    return (_ORDER.index(part) if part in _ORDER else len(_ORDER)), part


def _values(node: str, part: str, old: Any, new: Any) -> Iterator[Change]:
    """Plain values, however deep."""
    before, after = flat(old), flat(new)
    for path in sorted({*before, *after}):
        one, two = before.get(path, _ABSENT), after.get(path, _ABSENT)
        if one is not _ABSENT and two is not _ABSENT and _same(one, two):
            continue
        if (one is _ABSENT or one is None) and (two is _ABSENT or two is None):
            continue
        name = f"{node}.with.{path}" if part == "params" else _label(part, path)
        old_text, new_text = shown(one), shown(two)
        if one is _ABSENT:
            text = f"{name}: {new_text} is new"
        elif two is _ABSENT:
            text = f"{name}: {old_text} is gone"
        else:
            text = f"{name}: {old_text} → {new_text}"
        yield Change(part, path, text, _plain(one), _plain(two))


def _label(part: str, path: str) -> str:
    names = {"version": "the engine's version", "environment": "environment"}
    name = names.get(part, part)
    return f"{name} {path}" if path else name


class _Absent:
    pass


_ABSENT = _Absent()


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A value's leaves by dotted path; a list is a leaf unless it holds mappings."""
    if isinstance(value, Mapping) and (value or not path):
        found: dict[str, Any] = {}
        for name, item in value.items():
            found |= flat(item, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping) for item in value):
            return flat({str(i): item for i, item in enumerate(value)}, path)
        return {path: list(value)}
    return {path: value}


def shown(value: Any) -> str:
    """A value as it is written in a pipeline, cut where it is long."""
    if value is _ABSENT:
        return "nothing"
    if isinstance(value, bool):
        text = str(value).lower()
    elif value is None:
        text = "null"
    elif isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    else:
        text = str(value)
        if isinstance(value, str) and (not text or text != text.strip()):
            text = repr(value)
    return text if len(text) <= MOST_VALUE else f"{text[: MOST_VALUE - 1]}…"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[str]]:
    """Names that are changed, new, gone."""
    return {
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
        "new": sorted(new.keys() - old.keys()),
        "gone": sorted(old.keys() - new.keys()),
    }


def _code(old: Manifest, new: Manifest) -> Change:
    if old is None or new is None:
        return Change("code", "", "code changed")
    found = differences(old, new)
    texts = list(found["changed"])
    texts += [f"{name} is new" for name in found["new"]]
    texts += [f"{name} is gone" for name in found["gone"]]
    return Change("code", "", f"code: {few(texts)}", details=found)


def few(texts: Sequence[str], most: int = MOST) -> str:
    """At most a few of them, and how many more there are."""
    listed = ", ".join(texts[:most])
    return f"{listed} and {len(texts) - most:,} more" if len(texts) > most else listed


def _contents(
    node: str, before: Mapping[str, str], after: Mapping[str, str], read: Read
) -> Iterator[Change]:
    for parameter in sorted({*before, *after}):
        if before.get(parameter) == after.get(parameter):
            continue
        name = f"{node}.with.{parameter}"
        old, new = read(f"contents.{parameter}")
        if parameter not in before or parameter not in after:
            text = f"{name}: {'is new' if parameter in after else 'is gone'}"
            yield Change("contents", parameter, text)
        elif old is None or new is None:
            yield Change("contents", parameter, f"{name}: its files changed")
        else:
            found = differences(old, new)
            text = f"{name}: {_files(found, len(old.keys() | new.keys()), new)}"
            yield Change("contents", parameter, text, details=found)


def _files(found: Mapping[str, Sequence[str]], total: int, new: Mapping[str, Any]) -> str:
    if set(new) == {"."} and not found["new"]:
        return "the file changed"
    counts = {word: len(names) for word, names in found.items() if names}
    texts = [f"{number:,} {word}" for word, number in counts.items()]
    files = "file" if total == 1 else "files"
    names = [name for names in found.values() for name in names]
    return f"{', '.join(texts)} of {total:,} {files}: {few(names)}"


def _inputs(
    before: Mapping[str, str], after: Mapping[str, str], sources: Mapping[str, str]
) -> Iterator[Change]:
    for port in sorted({*before, *after}):
        if before.get(port) == after.get(port):
            continue
        source = f" ({sources[port]})" if port in sources else ""
        how = "changed"
        if port not in before or port not in after:
            how = "is connected now" if port in after else "is connected no longer"
        old, new = before.get(port), after.get(port)
        yield Change("inputs", port, f"input {port}{source} {how}", old, new)


def _versions(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None or new is None:
            how = f"{new} is required now" if old is None else f"{old} is required no longer"
            yield Change("requires", name, f"{name} {how}", old, new)
        else:
            yield Change("requires", name, f"{name} {old} → {new}", old, new)
