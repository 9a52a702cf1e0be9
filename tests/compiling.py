"""What tests of the compiler ask of a graph."""

from __future__ import annotations

import pytest
from projects import Compile

from edgepipe.errors import ConfigError

NUMBERS = "stages:\n  numbers: {uses: numbers}\n"


def inputs(compile_: Compile, text: str) -> dict[str, dict[str, str]]:
    nodes = compile_(text).graph.nodes
    return {n: {p: str(s) for p, s in node.inputs.items()} for n, node in nodes.items()}


def messages(compile_: Compile, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_(text)
    return [problem.message for problem in caught.value.problems]
