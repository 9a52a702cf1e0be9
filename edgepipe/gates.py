"""Gates: budgets on results, as ``bench[int8].accuracy >= teacher.accuracy - 0.5 %``.

Grammar::

    gate   = sum ("<=" | ">=" | "<" | ">" | "==") sum
    sum    = product (("+" | "-") product)*
    product = value (("*" | "/") value)*
    value  = number [unit] | metric | "(" sum ")" | "-" value
    metric = NODE ["[" index "]"] ["." PORT] "." NAME
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from edgepipe.errors import EdgepipeError
from edgepipe.units import MEASURES, SUFFIXES, show

Lookup = Callable[["MetricRef"], float]
"""Gives a metric's value in base units; raises KeyError where there is none."""

Measures = Callable[["MetricRef"], "str | None"]
"""Tells what a metric measures: ``a time``, ``a size``, or ``a plain number``; None fits all."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)\s*(?P<unit>%|[A-Za-zµ]+)?"
    r"|(?P<metric>[A-Za-z_][\w-]*(?:\[[^\]]*\])?(?:\.[A-Za-z_]\w*)+)"
    r"|(?P<compare><=|>=|==|<|>)|(?P<sign>[-+*/()]))"
)
_MAX_TOKENS = 200
_COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_COMPARE["=="] = operator.eq
_MATH = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class GateSyntaxError(EdgepipeError):
    """A gate's text is wrong at an offset (from 0)."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.offset = offset


@dataclass(frozen=True)
class Ref:
    """A reference to a node: ``NODE``, ``NODE[INDEX]``, with more after dots."""

    node: str
    index: str | None
    rest: tuple[str, ...]

    _FORM = re.compile(r"([A-Za-z_][\w-]*)(?:\[([^\]]*)\])?((?:\.[A-Za-z_]\w*)*)")

    @classmethod
    def parse(cls, text: str) -> Ref | None:
        """Read a reference; None where the text is none."""
        match = cls._FORM.fullmatch(text.strip())
        if match is None:
            return None
        return cls(match[1], match[2], tuple(match[3].split(".")[1:]))

    def __str__(self) -> str:
        index = "" if self.index is None else f"[{self.index}]"
        return ".".join((self.node + index, *self.rest))


@dataclass(frozen=True)
class MetricRef:
    """A metric in a gate, and where it stands in the text (offset from 0)."""

    ref: Ref
    offset: int
    width: int


@dataclass(frozen=True)
class _Number:
    value: float
    measures: str | None = None

    def evaluate(self, lookup: Lookup) -> float:
        return self.value

    def measure(self, measures: Measures) -> str | None:
        return self.measures


@dataclass(frozen=True)
class _Metric:
    ref: MetricRef

    def evaluate(self, lookup: Lookup) -> float:
        return lookup(self.ref)

    def measure(self, measures: Measures) -> str | None:
        return measures(self.ref)


@dataclass(frozen=True)
class _Operation:
    sign: str
    left: Expression
    right: Expression

    def evaluate(self, lookup: Lookup) -> float:
        return float(_MATH[self.sign](self.left.evaluate(lookup), self.right.evaluate(lookup)))

    def measure(self, measures: Measures) -> str | None:
        left, right = self.left.measure(measures), self.right.measure(measures)
        if self.sign in "+-":
            return _alike(left, right)
        if self.sign == "/" and left == right:
            return left and "a plain number"
        plain = {None, "a plain number"}
        return left if right in plain else right if left in plain and self.sign == "*" else None


Expression = _Number | _Metric | _Operation


@dataclass(frozen=True)
class Gate:
    """A parsed gate."""

    text: str
    left: Expression
    compare: str
    right: Expression
    metrics: tuple[MetricRef, ...]

    def evaluate(self, lookup: Lookup) -> tuple[float, float, bool]:
        """Both sides and whether the gate holds. Raises ZeroDivisionError, and what lookup raises."""
        left, right = self.left.evaluate(lookup), self.right.evaluate(lookup)
        return left, right, bool(_COMPARE[self.compare](left, right))

    def check(self, measures: Measures) -> None:
        """Raise MeasureError where times are compared with sizes, and the like."""
        _alike(self.left.measure(measures), self.right.measure(measures))


class MeasureError(EdgepipeError):
    """Two sides that cannot be compared."""


def _alike(left: str | None, right: str | None) -> str | None:
    if left is not None and right is not None and left != right:
        hint = "compare times with times (ms), sizes with sizes (kB), shares with shares (%)"
        raise MeasureError(f"it sets {left} against {right}", hint)
    return right if left is None else left


def by_how_much(left: float, right: float, unit: str) -> str:
    """The distance of the two sides, for a person: ``0.42 points``, ``120 kB``."""
    distance = abs(left - right)
    return f"{distance * 100:.2f} points" if unit == "fraction" else show(distance, unit)


def parse(text: str) -> Gate:
    """Parse a gate. Raises GateSyntaxError with the offset of what is wrong."""
    parser = _Parser(text)
    gate = parser.gate()
    return Gate(text, *gate, tuple(parser.metrics))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[re.Match[str]] = []
        self.metrics: list[MetricRef] = []
        self.place = 0
        offset, end = 0, len(text.rstrip())
        while offset < end:
            match = _TOKEN.match(text, offset)
            if match is None:
                start = offset + len(text[offset:]) - len(text[offset:].lstrip())
                word = text[start:].split()[0]
                message = f"'{word}' cannot be read"
                hint = "write NODE.METRIC <= VALUE, with + - * / and units like MB, ms, %"
                if Ref.parse(word):
                    message, hint = f"'{word}' names no metric", f"write {word}.METRIC"
                raise GateSyntaxError(start, message, hint)
            self.tokens.append(match)
            offset = match.end()
            if len(self.tokens) > _MAX_TOKENS:
                message = "the gate is too long"
                raise GateSyntaxError(offset, message, "write several shorter ones")

    def _offset(self) -> int:
        if self.place < len(self.tokens):
            token = self.tokens[self.place]
            return token.start(token.lastgroup or 0)
        return len(self.text.rstrip())

    def _next(self, group: str, among: str = "") -> re.Match[str] | None:
        if self.place < len(self.tokens):
            token = self.tokens[self.place]
            text = token[group]
            if text is not None and (not among or text in among):
                self.place += 1
                return token
        return None

    def gate(self) -> tuple[Expression, str, Expression]:
        left = self._sum()
        compare = self._next("compare")
        if compare is None:
            message = "a comparison is expected here"
            raise GateSyntaxError(self._offset(), message, "one of <= >= < > ==")
        right = self._sum()
        if self.place < len(self.tokens):
            message = "the gate should end here"
            raise GateSyntaxError(self._offset(), message, "write one comparison a gate")
        return left, compare["compare"], right

    def _sum(self) -> Expression:
        left = self._product()
        while sign := self._next("sign", "+-"):
            left = _Operation(sign["sign"], left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._value()
        while sign := self._next("sign", "*/"):
            left = _Operation(sign["sign"], left, self._value())
        return left

    def _value(self) -> Expression:
        offset = self._offset()
        if number := self._next("number"):
            unit = number["unit"] or ""
            if unit and unit not in SUFFIXES:
                message = f"'{unit}' is no unit"
                hint = f"units: {', '.join(SUFFIXES)}"
                raise GateSyntaxError(number.start("unit"), message, hint)
            value = float(number["number"]) * SUFFIXES.get(unit, 1.0)
            if math.isinf(value):
                raise GateSyntaxError(
                    offset, f"{number['number']} is too large", "write a smaller one"
                )
            return _Number(value, MEASURES.get(unit))
        if metric := self._next("metric"):
            ref = Ref.parse(metric["metric"])
            assert ref is not None
            self.metrics.append(MetricRef(ref, offset, len(metric["metric"])))
            return _Metric(self.metrics[-1])
        if self._next("sign", "("):
            inner = self._sum()
            if not self._next("sign", ")"):
                raise GateSyntaxError(self._offset(), "a ')' is missing here", "one for each '('")
            return inner
        if self._next("sign", "-"):
            return _Operation("*", _Number(-1.0), self._value())
        message = "a number or NODE.METRIC is expected here"
        raise GateSyntaxError(offset, message, "like bench.accuracy >= 97.5 %")
