"""Whether a module's code left it as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from edgepipe.worker.modulestate import UnknownError, state

MODULE = """\
import enum, functools, logging, re
from dataclasses import dataclass
from pathlib import Path
from edgepipe.stage import Context, Field, Folder, Metric, Stage

LIST, DICT, DEEP = [1], {"a": [1]}, ([{"x": {1}}],)
NUMBER = 1
ROOT, FORM, LOG = Path(__file__), re.compile("x"), logging.getLogger("x")

def default(x, seen=[]):
    seen.append(x)

def keyword(x, *, seen={}):
    seen[x] = x

def make():
    held = []
    return lambda x: held.append(x)

CLOSED = make()

class Plain:
    items = []
    count = 0

    def method(self, seen=[]):
        seen.append(1)

    def __eq__(self, other, seen=[]):
        seen.append(1)

class Zoo:
    model_cache = {}
    _model_cache = {}
    __count__ = 0
    __pydantic_mine__ = []

class Color(enum.Enum):
    RED = 1

class Bits(enum.Flag):
    ONE = 1
    TWO = 2

@dataclass
class Pair:
    left: int = 0

__made__ = []

class Copy(Stage):
    outputs = {"out": Folder}
    metrics = {"m": Metric("s", "time")}
    number: int = Field(0, ge=0)
    made: list[int] = Field(default_factory=list)

    def run(self, ctx: Context) -> None:
        pass
"""
CHANGES = [
    "LIST.append(2)",
    "DICT['a'].append(2)",
    "DEEP[0][0]['x'].add(2)",
    "global NUMBER; NUMBER = 2",
    "global EXTRA; EXTRA = 1",
    "default(1)",
    "keyword(1)",
    "CLOSED(1)",
    "default.attribute = 1",
    "Plain.items.append(1)",
    "Plain.count += 1",
    "Plain.extra = 1",
    "Plain().method()",
    "Copy.outputs['more'] = Folder",
    "Copy.run = None",
    "Plain.method = keyword",
    "global default; default = keyword",
    "Zoo.model_cache['m'] = 1",
    "Zoo._model_cache['m'] = 1",
    "Zoo.__count__ += 1",
    "Zoo.__pydantic_mine__.append(1)",
    "Plain() == 1",
    "Color.RED.seen = 1",
    "Bits.TWO.seen = 1",
    "__made__.append(1)",
    "global __extra__; __extra__ = 1",
    "Copy.model_cache = 1",
    "Copy.model_config['title'] = 'x'",
]
UNKNOWN = [
    "CACHED = functools.lru_cache(default)",
    "OBJECT = Plain()",
    "class Place(type(Path())): pass\nPLACE = Place('x')",
    "GENERATOR = iter([1])",
    "BYTES = bytearray(b'x')",
    "class Meta(type): pass\nclass Held(metaclass=Meta):\n    thing = object()",
]


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("edgepipe_user_state")
    made.__file__ = __file__
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(module: ModuleType, change: str) -> None:
    exec(MODULE, vars(module))
    exec(f"def change():\n    {change}\ndef nothing():\n    Copy(number=3).run(None)", vars(module))
    before = state([module])
    module.nothing()
    assert state([module]) == before
    module.change()
    assert state([module]) != before


@pytest.mark.parametrize("line", UNKNOWN)
def test_what_is_not_known_may_change(module: ModuleType, line: str) -> None:
    exec(f"{MODULE}\n{line}\n", vars(module))
    with pytest.raises(UnknownError):
        state([module])
