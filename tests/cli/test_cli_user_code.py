"""The user's plug-ins, code and files."""

from __future__ import annotations

from typing import Any

import pytest
from mini_pipeline import export
from projects import Folder


def test_a_plugin_is_found_checked_cached_and_run_again_after_an_edit(project: Folder) -> None:
    project.write(
        "plugins/mine/halve.py",
        '"""mine.halve."""\n\nfrom _values import Numbers\n\n'
        "from edgepipe.stage import Context, Field, Stage\n\n\nclass Halve(Stage):\n"
        '    """Every number by two."""\n\n    inputs = {"values": Numbers}\n'
        '    outputs = {"values": Numbers}\n'
        '    by: float = Field(2.0, gt=0, description="divisor")\n\n'
        "    def run(self, ctx: Context) -> None:\n"
        '        ctx.save("values", [n / self.by for n in ctx.input("values")])\n',
    )
    text = "edgepipe: 1\nname: p\nstages:\n  a: {uses: numbers}\n  h: {uses: mine.halve, in: {values: a}}\n"
    project.write("p.yaml", text)
    assert "mine.halve" in project.edgepipe("stages").out
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    path = project.path / "plugins/mine/halve.py"
    path.write_text(path.read_text().replace('"""Every number by two."""', '"""Halves."""  # so'))
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    path.write_text(path.read_text().replace("n / self.by", "n / self.by + 0"))
    planned = project.edgepipe("plan", "p.yaml", "--json").json
    assert [node["status"] for node in planned["nodes"]] == ["cached", "runs"]
    assert planned["nodes"][1]["reason"] == "code: mine/halve.py:Halve"
    helper = project.path / "plugins/_values.py"
    helper.write_text(helper.read_text().replace("json.dumps(value)", "json.dumps([*value])"))
    # All that reach the helper run again.
    assert project.edgepipe("plan", "p.yaml", "--json").json["runs"] == 2


@pytest.mark.parametrize(
    ("contract", "said", "hint"),
    [
        ('inputs = {"x": "Metrics"}', "the input 'x' as 'Metrics'", "optional() of one"),
        ('outputs = {"x": dict}', "the output 'x' as <class 'dict'>", "a class of artifact"),
        ('outputs = {"a/b": Folder}', "a port named 'a/b'", "a_b, a-b"),
        ('inputs = {"": Folder}', "a port named ''", "a_b, a-b"),
        ('outputs = ["x"]', "outputs as ['x']", 'outputs = {"NAME": …}'),
        ('requires = "numpy"', "requires as 'numpy'", 'requires = ("numpy",)'),
        ("requires = None", "requires as None", 'requires = ("numpy",)'),
        ("cpus = 0.5", "cpus as 0.5", "a whole number"),
        ("memory = -1", "memory as -1", "at least 0"),
        ('metrics = {"x": "count"}', "the metric 'x' as 'count'", "Metric(UNIT, MEANING)"),
        ('metrics = {"x": Metric("ms", "late")}', "the metric 'x' as", "units: fraction, s, bytes"),
    ],
)
def test_a_plugin_with_a_port_or_metric_that_is_none(
    project: Folder, contract: str, said: str, hint: str
) -> None:
    project.write(
        "plugins/wrong.py",
        "from edgepipe.stage import Folder, Metric, Metrics, Stage\n\n\nclass Wrong(Stage):\n"
        f'    """Declares what is none."""\n\n    outputs = {{"r": Metrics}}\n    {contract}\n\n'
        '    def run(self, ctx):\n        ctx.save("r", {"x": 1})\n',
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages:\n  w: {uses: wrong}\n")
    done = project.edgepipe("run", "p.yaml")
    assert done.code == 2
    assert "plugins/wrong.py:1:1: error: the stage 'wrong' declares " + said in done.err
    assert hint in done.err
    assert "Traceback" not in done.err


def test_what_a_plugin_prints_while_it_is_imported_is_in_no_answer(project: Folder) -> None:
    project.write(
        "plugins/loud.py",
        "from edgepipe.stage import Folder, Stage\n\nprint('hello')\n\n\nclass Loud(Stage):\n"
        '    outputs = {"out": Folder}\n\n    def run(self, ctx):\n'
        '        (ctx.output("out") / "a").write_text("a")\n',
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages:\n  w: {uses: loud}\n")
    planned = project.edgepipe("plan", "p.yaml", "--json")
    assert planned.json["runs"] == 1
    assert planned.err == "hello\n"
    assert project.edgepipe("run", "p.yaml", "--json").json["status"] == "done"


def test_needs_may_be_written_as_what_python_calculates(project: Folder) -> None:
    project.write(
        "plugins/large.py",
        "from edgepipe.stage import Folder, Stage\n\n\nclass Large(Stage):\n"
        '    """Needs something."""\n\n    outputs = {"r": Folder}\n    memory = 0.5e9\n'
        '    cpus = 1.0\n\n    def run(self, ctx):\n        (ctx.output("r") / "f").touch()\n',
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: large}}\n")
    assert project.edgepipe("run", "p.yaml").code == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    def ran(self, ctx):\n        pass\n", "the stage 'wrong' declares no run()"),
        (
            "    def run(self, ctx):\n        pass\n\n"
            "    def preflight(self, connected):\n        raise KeyError('x')\n",
            "p.yaml:4:13: error: preflight() failed: KeyError: 'x'",
        ),
        (
            "    def run(self, ctx):\n        pass\n\n"
            "    def preflight(self, connected):\n        return ['x']\n",
            "p.yaml:4:13: error: preflight() failed: ValueError: not enough values",
        ),
        (
            "    n: int = Field(1, validate_default=True)\n\n    def run(self, ctx):\n        pass\n\n"
            "    @field_validator('n')\n    @classmethod\n    def known(cls, n):\n"
            "        return {}[n]\n",
            "p.yaml:4:13: error: the stage's own validation failed: KeyError: 1",
        ),
        (
            "    n: int = 1\n\n    def run(self, ctx):\n        pass\n\n"
            "    @field_serializer('n')\n    def known(self, n):\n        return {}[n]\n",
            "p.yaml:4:13: error: to write its parameters as JSON failed: ",
        ),
    ],
)
def test_a_plugin_that_is_not_finished_is_no_traceback(
    project: Folder, body: str, said: str
) -> None:
    project.write(
        "plugins/wrong.py",
        "from pydantic import field_serializer, field_validator\n\n"
        f"from edgepipe.stage import Field, Stage\n\n\nclass Wrong(Stage):\n{body}",
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages:\n  w: {uses: wrong}\n")
    done = project.edgepipe("run", "p.yaml")
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "plugins/wrong.py:" in done.err or "raised at" in done.err
    assert "Traceback" not in done.err


def test_the_users_files_and_code_are_inputs(project: Folder) -> None:
    project.write("data/a.txt", "one")
    project.write(
        "code.py", "from more import shout\n\n\ndef convert(text):\n    return shout(text)\n"
    )
    project.write("more.py", "def shout(text):\n    return text.upper() + '!'\n")
    project.write(
        "pipes/p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        "  w: {uses: text.upper, with: {file: ../data, code: '../code.py:convert'}}\n"
        "  m: {uses: text.upper, with: {file: ../data/a.txt, code: 'more:shout'}}\n",
    )
    done = project.edgepipe("run", "pipes/p.yaml")
    assert done.code == 0, done.out + done.err
    export(project, "w", "out")
    assert (project.path / "out" / "words.txt").read_text() == "ONE!"

    def runs() -> Any:
        planned = project.edgepipe("plan", "pipes/p.yaml", "--json").json["nodes"]
        return [node["node"] for node in planned if node["status"] == "runs"]

    assert runs() == []
    project.write("data/b.txt", "two")
    assert runs() == ["w"]
    (project.path / "data/b.txt").unlink()
    project.write("more.py", "def shout(text):\n    return text.upper() + '?'\n")
    assert runs() == ["w", "m"]
    project.write("more.py", "def shout(text):\n    # loud\n    return text.upper() + '!'\n")
    assert runs() == []


def test_errors_of_the_users_code_are_the_nodes(project: Folder) -> None:
    project.write("code.py", "import no_such_thing\n")
    project.write("good.py", "def f(text):\n    return text\n")
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  a: {uses: text.upper, with: {code: 'code.py:f'}}\n"
        "  b: {uses: text.upper, with: {code: 'good.py:g'}}\n"
        "  c: {uses: text.upper, with: {code: 'good.py:f'}}\n",
    )
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.code == 1
    errors = {node["name"]: node["error"] for node in done.json["nodes"]}
    assert errors["a"].startswith("importing code.py failed: ModuleNotFoundError: No module")
    assert errors["b"] == "good.py has no 'g'\nit has: f"
    assert errors["c"] == ""
