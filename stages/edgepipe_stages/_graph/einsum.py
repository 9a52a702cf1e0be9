"""Multiply-accumulates of Einstein's sums, contracted from left to right as PyTorch does."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from edgepipe_stages._graph import Shape


def einsum_macs(equation: str, shapes: Sequence[Shape]) -> int:
    """Multiply-accumulates of ``equation`` over operands of these shapes.

    Sums over one operand alone, and products that sum over nothing, have none: a library adds or
    multiplies elements there.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = [_labels(term, len(shape)) for term, shape in zip(left.split(","), shapes, strict=True)]
    wanted = _asked(result, terms) if arrow else _implied(terms)
    sizes = [_sizes(term, shape) for term, shape in zip(terms, shapes, strict=True)]
    total, current = 0, sizes[0]
    for place, other in enumerate(sizes[1:], 1):
        kept = wanted.union(*terms[place + 1 :])
        summed = {
            label
            for label in current.keys() & other.keys()
            if label not in kept and current[label] != 1 and other[label] != 1
        }
        largest = {
            label: max(current.get(label, 1), other.get(label, 1)) for label in {**current, **other}
        }
        if summed:
            total += prod(size for label, size in largest.items() if label in kept | summed)
        current = {label: size for label, size in largest.items() if label in kept}
    return total


def _labels(term: str, rank: int) -> list[str]:
    """One label an axis; those of an ellipsis are numbered from the last one."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*before, *(f".{i}" for i in range(hidden, 0, -1)), *after]


def _sizes(labels: Sequence[str], shape: Shape) -> dict[str, int]:
    return dict(zip(labels, shape, strict=True))


def _hidden(terms: Sequence[Sequence[str]]) -> set[str]:
    return {label for term in terms for label in term if label.startswith(".")}


def _asked(result: str, terms: Sequence[Sequence[str]]) -> set[str]:
    shown = set(result.replace("...", ""))
    return shown | _hidden(terms) if "..." in result else shown


def _implied(terms: Sequence[Sequence[str]]) -> set[str]:
    """Without an arrow: what the ellipsis stands for, and each label that occurs once."""
    every = [label for term in terms for label in term]
    return {label for label in every if every.count(label) == 1} | _hidden(terms)
