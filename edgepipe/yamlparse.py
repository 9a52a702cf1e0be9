"""YAML text → a tree of values that know their place. Hostile text is refused, never expanded.

The tree is built from parser events in one loop, so that no depth of nesting can exhaust the
stack. Scalars follow YAML 1.2's core schema: ``no``, ``on`` and ``08`` are strings, ``1e3`` is
a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from edgepipe.errors import ConfigError, Problem
from edgepipe.yamltree import MAX_DEPTH, Node, Source, kind_of, size_of

MAX_BYTES = 4 << 20
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
_COLLECTION_TAGS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_MAX_DIGITS = 18


def parse(text: str, name: str) -> Node:
    """Parse one YAML document whose root is a mapping.

    Raises:
        ConfigError: the text is not YAML, is larger or deeper than the limits, has a key twice,
            or asks for an object to be made.
    """
    source = Source(name, text)
    if len(text) > MAX_BYTES:
        raise _error(source, 0, 0, f"the file is larger than {MAX_BYTES >> 20} MiB", "split it")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = _Builder(source).build(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        begin = error.context_mark or mark
        if mark and mark.line >= len(source.lines):
            # What is still open at the end of the text is to be closed where it begins.
            mark = begin
        line, column = (mark.line, mark.column) if mark else (0, 0)
        context = f" ({error.context})" if error.context else ""
        hint = "check the indentation, the colons and the quotes just before this place"
        if line < len(source.lines) and "\t" in source.lines[line][: column + 1]:
            hint = "indent with spaces: YAML takes no tab there"
        elif begin and begin.line < line and re.search("flow|quoted", context):
            hint = f"what is not closed begins at {name}:{begin.line + 1}:{begin.column + 1}"
        elif line < len(source.lines) and "flow" in context and "${" in source.lines[line]:
            hint = 'in braces and brackets a variable needs quotes: "${NAME}"'
        if line >= len(source.lines):
            line, column = len(source.lines) - 1, len(source.lines[-1])
        message = f"this is not YAML: {error.problem}{context}"
        raise _error(source, line, column, message, hint) from None
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes.
        before = text.encode()[: error.position].decode(errors="ignore")
        column = len(before) - (before.rfind("\n") + 1)
        raise _error(
            source,
            before.count("\n"),
            column,
            f"this is not YAML: {error.reason}",
            "save the file as UTF-8 text without control characters",
        ) from None
    if root is None:
        raise _error(source, 0, 0, "the file is empty", "start with: edgepipe init DIR")
    if not isinstance(root.value, dict):
        raise _error(
            source,
            root.line,
            root.column,
            f"a pipeline is a mapping, not {kind_of(root.value)}",
            "write 'name: value' lines: edgepipe, name, stages",
        )
    return root


def parse_value(text: str, source: Source, column: int) -> Node:
    """One value as YAML, for the command line; ``column`` (from 0) is its place in the source."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = _Builder(Source(source.name, text)).build(yaml.parse(text, Loader=loader))
    except yaml.YAMLError:
        node = Node(text, source, 0, column)
    node = node or Node(None, source, 0, column)
    return _moved(node, source, column, max(1, len(text)))


def _moved(node: Node, source: Source, column: int, width: int) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {name: _moved(item, source, column, width) for name, item in value.items()}
    elif isinstance(value, list):
        value = [_moved(item, source, column, width) for item in value]
    return Node(value, source, 0, column, width)


def _error(source: Source, line: int, column: int, message: str, hint: str) -> ConfigError:
    where = Node(None, source, line, column).where
    return ConfigError(Problem(message, hint, where))


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is not complete yet."""

    node: Node
    anchor: str | None
    key: Node | None = None
    """Of a mapping: the key that waits for its value."""


class _Builder:
    """Builds the tree of one document, without recursion."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.anchors: dict[str, Node] = {}
        self.frames: list[_Frame] = []
        self.problems: list[Problem] = []
        self.root: Node | None = None

    def build(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._attach(self._scalar(event), event.anchor)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._open(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._close()
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self.anchors:
                    message = f"there is no complete anchor '&{event.anchor}' before this alias"
                    raise self._refuse(event, message, "define it above, or write the value out")
                target = self.anchors[event.anchor]
                if target.keys is not None or isinstance(target.value, list):
                    self._refuse_as_key(event)
                self._attach(target, None)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "a second document begins here", "keep one a file")
        if self.problems:
            raise ConfigError(self.problems)
        return self.root

    def _open(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _COLLECTION_TAGS:
            raise self._refuse_tag(event)
        if len(self.frames) >= MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        self._refuse_as_key(event)
        mark = event.start_mark
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = Node({} if mapping else [], self.source, mark.line, mark.column)
        node.keys = {} if mapping else None
        self.frames.append(_Frame(node, event.anchor))

    def _refuse_as_key(self, event: Any) -> None:
        """A collection cannot stand where a key is expected."""
        if self.frames and self.frames[-1].node.keys is not None and not self.frames[-1].key:
            raise self._refuse(event, "a key must be one word, not a collection", "quote it")

    def _close(self) -> None:
        frame = self.frames.pop()
        if frame.node.keys is not None and "<<" in frame.node.keys:
            self._merge(frame.node, frame.node.keys)
        self._attach(frame.node, frame.anchor)

    def _attach(self, node: Node, anchor: str | None) -> None:
        # An anchor counts only once its node is complete: so no alias can make a cycle.
        if anchor:
            self.anchors[anchor] = node
        if not self.frames:
            self.root = node
            return
        frame = self.frames[-1]
        frame.node.size += node.size
        frame.node.height = max(frame.node.height, 1 + node.height)
        frame.node.check_bounds()
        if frame.node.keys is None:
            frame.node.value.append(node)
        elif frame.key is None:
            frame.key = node
        else:
            self._put(frame.node, frame.node.keys, frame.key, node)
            frame.key = None

    def _put(self, mapping: Node, keys: dict[str, Node], key: Node, node: Node) -> None:
        name = str(key.value)
        if name in mapping.value:
            hint = f"the first is at {keys[name].where}: rename or remove one of them"
            self.problems.append(Problem(f"'{name}' is given twice", hint, key.where))
        mapping.value[name] = node
        keys[name] = key

    def _merge(self, node: Node, keys: dict[str, Node]) -> None:
        """Fold ``<<: *anchor`` in: what is written beside it wins."""
        merged = node.value.pop("<<")
        place = keys.pop("<<")
        for base in merged.value if isinstance(merged.value, list) else [merged]:
            if not isinstance(base.value, dict):
                hint = "write '<<: *ANCHOR', where the anchor is on a mapping"
                raise ConfigError(Problem("'<<' merges mappings only", hint, place.where))
            for name, item in base.value.items():
                node.value.setdefault(name, item)
                keys.setdefault(name, base.key(name))

    def _scalar(self, event: Any) -> Node:
        if event.tag is not None and event.tag not in _TAGS:
            raise self._refuse_tag(event)
        mark, end = event.start_mark, event.end_mark
        width = end.column - mark.column if end.line == mark.line else 1
        node = Node(event.value, self.source, mark.line, mark.column, max(1, width))
        node.size = size_of(event.value)
        is_key = bool(self.frames) and self.frames[-1].node.keys is not None
        is_key = is_key and self.frames[-1].key is None
        typed = event.tag is not None and event.tag != "tag:yaml.org,2002:str"
        # A key is a name, whatever it looks like: true, 8 and null are texts there.
        if not is_key and (event.implicit[0] or typed):
            node.value = self._resolve(event)
        return node

    def _resolve(self, event: Any) -> Any:
        text = event.value
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":
            return text
        if _INT.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                raise self._refuse(event, "this integer is too large", "quote it if it is a text")
            return int(text)
        if not _FLOAT.fullmatch(text):
            return text
        number = float(text)
        if math.isinf(number):
            raise self._refuse(event, "this number is too large", "quote it if it is a text")
        return number

    def _refuse_tag(self, event: Any) -> ConfigError:
        hint = "a pipeline is plain data: remove the tag"
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        return self._refuse(event, f"the tag '{tag}' is refused", hint)

    def _refuse(self, event: Any, message: str, hint: str) -> ConfigError:
        mark = event.start_mark
        return _error(self.source, mark.line, mark.column, message, hint)
