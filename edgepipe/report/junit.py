"""A run as JUnit XML: nodes and gates as test cases, for CI systems."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edgepipe.report.figures import gate_values
from edgepipe.report.text import clean
from edgepipe.results import GateResult, NodeResult, RunResult


def render(result: RunResult) -> str:
    """The document: a suite of the nodes, and one of the gates if there are any."""
    suites = [_suite(result, "nodes", [_node(node) for node in result.nodes], result.seconds)]
    if result.gates:
        suites.append(_suite(result, "gates", [_gate(gate) for gate in result.gates], 0.0))
    about = {"name": _text(result.pipeline), "time": _time(result.seconds)}
    root = Element("testsuites", {**about, **_counts(suites)})
    root.extend(suites)
    indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(result: RunResult, what: str, cases: list[Element], time: float) -> Element:
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
    }
    name = _text(f"{result.pipeline} {what}")
    times = {"time": _time(time), "timestamp": _text(result.started)}
    suite = Element("testsuite", {"name": name, **totals, **times})
    suite.extend(cases)
    return suite


def _counts(suites: Sequence[Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors", "skipped")
    return {name: str(sum(int(suite.get(name, "0")) for suite in suites)) for name in names}


def _node(node: NodeResult) -> Element:
    ran = node.status in ("ran", "failed")
    case = Element(
        "testcase",
        classname=_text(node.kind),
        name=_text(node.name),
        time=_time(node.seconds if ran else 0.0),
    )
    if node.status == "failed":
        error = node.error or "no reason was given"
        failure = SubElement(case, "failure", message=_text(error.partition("\n")[0]))
        failure.text = _text(error)
    elif node.status == "skipped":
        SubElement(case, "skipped", message=_text(node.reason))
    told = [node.status, *([node.reason] if ran and node.reason else [])]
    told += [f"log: {node.log}"] if node.log else []
    SubElement(case, "system-out").text = _text("\n".join(told))
    return case


def _gate(gate: GateResult) -> Element:
    case = Element("testcase", classname="gate", name=_text(gate.text), time=_time(0.0))
    values = _text(gate_values(gate))
    if gate.passed:
        SubElement(case, "system-out").text = values
    else:
        SubElement(case, "failure", message=values).text = values
    return case


def _text(text: str) -> str:
    """XML 1.0 has no place for control characters, nor for the last two of the first plane."""
    return clean(text, lines=True).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _time(value: float) -> str:
    return f"{value:.3f}"
