from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from report_pipeline import sample
from report_samples import cached, failing, hostile, large

from edgepipe.report.junit import render
from edgepipe.results import RunResult


@pytest.mark.parametrize("run", [sample(), cached(), failing(), hostile(), large(3)])
def test_the_document_has_the_shape_that_ci_systems_read(run: RunResult) -> None:
    root = ElementTree.fromstring(render(run).encode())
    assert root.tag == "testsuites"
    suites = root.findall("testsuite")
    assert len(suites) == 2
    for element in (root, *suites):
        cases = list(element.iter("testcase"))
        assert int(element.attrib["tests"]) == len(cases)
        assert int(element.attrib["failures"]) == len(list(element.iter("failure")))
        assert int(element.attrib["skipped"]) == len(list(element.iter("skipped")))
        assert element.attrib["errors"] == "0"
        assert float(element.attrib["time"]) >= 0
    for case in root.iter("testcase"):
        assert set(case.attrib) == {"classname", "name", "time"}
        assert {child.tag for child in case} <= {"failure", "skipped", "system-out"}


def test_what_is_told_of_nodes_and_gates() -> None:
    root = ElementTree.fromstring(render(failing()))
    cases = {case.attrib["name"]: case for case in root.iter("testcase")}
    failed = cases["tflite[float16]"]
    failure = failed.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "the operator GRU cannot be converted (layer rnn/gru_1)"
    assert failure.text is not None
    assert failure.text.endswith("which takes recurrent layers")
    assert failed.findtext("system-out") == "failed\nno result yet\nlog: logs/tflite[float16].log"
    skipped = cases["bench[float16]"].find("skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "tflite[float16] failed"
    assert cases["teacher"].attrib["time"] == "0.000", "it is of the cache"
    assert cases["student"].attrib["time"] == "48.100"
    gate = cases["tflite[int8].size <= 100 kB"].find("failure")
    assert gate is not None
    assert gate.attrib["message"] == "135 kB against 100 kB, 34.9 kB (35 %) too much"
    assert cases["teacher.accuracy >= 98.5 %"].find("failure") is None


def test_characters_that_xml_cannot_hold() -> None:
    node = replace(sample().nodes[0], status="failed", error="\ufffe\uffff\x0b\x00 end")
    text = render(replace(sample(), nodes=(node,), gates=()))
    root = ElementTree.fromstring(text)
    assert root.findtext(".//failure") == "\\ufffe\\uffff\\x0b\\x00 end"
    assert len(root.findall("testsuite")) == 1
