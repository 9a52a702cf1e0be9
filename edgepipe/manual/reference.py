"""The YAML reference, as markdown made from the classes: the spec's fields and every kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepipe import manual
from edgepipe.kinds import Kinds
from edgepipe.spec import NodeSpec, Spec
from edgepipe.units import SUFFIXES


def markdown(kinds: Kinds) -> str:
    """The whole page. Raises ConfigError where a kind does not import."""
    return "\n".join(_page(kinds)) + "\n"


def _page(kinds: Kinds) -> Iterator[str]:
    yield "# YAML reference"
    yield ""
    yield "Made by `edgepipe stages --format markdown`; a test holds that it is up to date."
    yield ""
    yield "## A pipeline"
    yield ""
    yield from _parameters(list(manual.parameters(Spec)), skip="stages.")
    yield "## A node: `stages.NAME`"
    yield ""
    yield from _parameters(list(manual.parameters(NodeSpec)))
    yield from _RULES.split("\n")
    yield f"Units in gates: {', '.join(f'`{unit}`' for unit in SUFFIXES)}."
    yield ""
    yield "## Kinds"
    yield ""
    for kind in kinds.all.values():
        yield from _kind(manual.describe(kind))


def _kind(data: dict[str, Any]) -> Iterator[str]:
    yield f"### `{data['kind']}`"
    yield ""
    yield data["description"]
    yield ""
    ports = [
        f"- in `{name}`: {port['type']}{', may be left open' if port['optional'] else ''}"
        for name, port in data["inputs"].items()
    ]
    ports += [f"- out `{name}`: {type_}" for name, type_ in data["outputs"].items()]
    if data["measures"]:
        ports.append("- measures: it runs alone, and the machine enters its key")
    if data["environment"]:
        ports.append(f"- runs in the environment `{data['environment']}`")
    yield from [*ports, ""]
    yield from _parameters(data["parameters"])
    if data["metrics"]:
        yield "| metric | unit | meaning |"
        yield "| --- | --- | --- |"
        for name, metric in data["metrics"].items():
            yield f"| `{name}` | {metric['unit']} | {_cell(metric['meaning'])} |"
        yield ""
    yield "```yaml"
    yield data["example"]
    yield "```"
    yield ""


def _parameters(rows: list[dict[str, Any]], skip: str = "\0") -> Iterator[str]:
    rows = [row for row in rows if not row["name"].startswith(skip)]
    if not rows:
        return
    yield "| name | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        kind = row["type"] + (f" {row['bounds']}" if row["bounds"] else "")
        default = "required" if row["required"] else f"`{manual.yaml_text(row['default'])}`"
        yield f"| `{row['name']}` | {_cell(kind)} | {_cell(default)} | {_cell(row['description'])} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_RULES = """\
**References.** `in: {model: student}` takes the output of `student` that fits; `student.model`
names it. A node that reads one with a matrix gets the same axes, unless an index picks one:
`tflite[int8]`, `tflite[precision=int8]`.

**Matrix.** One node for each combination. An axis sets the parameter of its name, or is used in
`with` as `${matrix.AXIS}`.

**Variables.** `${NAME}` is `vars.NAME`, and keeps its type where it is the whole value. `$$` is a
dollar sign. `--set vars.NAME=VALUE` and `--set NODE.with.PARAMETER=VALUE` override.

**Includes** are merged under the file, the later over the earlier: mappings key by key, gates
joined. A relative path starts at the file in which its parameter is written, also where a
variable names it.

**Scalars** are YAML 1.2's: `no`, `on` and `08` are texts, `1e3` is a number.

**Gates** compare sums and products of numbers and metrics with `<=`, `>=`, `<`, `>` or `==`, as
`bench[int8].accuracy >= teacher.accuracy - 0.5 %`. Every node with one artifact has the metric
`size`, its bytes. A metric of a node with a matrix holds for each of its points.
"""
