"""Fingerprints: what of the code counts, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.errors import ConfigError
from edgepipe.fingerprint import Fingerprints

STAGE = '''"""A stage."""
import json
from helper import scaled
from family._near import near

FACTOR = 2
TEXT = json.dumps([])


class Stage:
    """Does something."""

    size: int = 3
    "what it means"

    def run(self, ctx):
        """Run."""
        from late import later
        # a comment
        return scaled(FACTOR) + later(near)


def other(a, b=1):
    return a + b
'''
FILES = {
    "family/stage.py": STAGE,
    "family/_near.py": "near = 1\n",
    "family/__init__.py": '"""Family."""\n',
    "family/unrelated.py": "x = 1\n",
    "helper.py": "from deep.er import value\n\n\ndef scaled(x):\n    return value(x)\n",
    "deep/__init__.py": "",
    "deep/er.py": "ZERO = 0\n\n\ndef value(x):\n    return x + ZERO\n",
    "late.py": "import importlib\n\n\ndef later(x):\n    return importlib.import_module('loaded').x\n",
    "loaded.py": "x = 1\n",
    "json.py": "shadow = 1\n\n\ndef dumps(x):\n    return shadow\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def of(root: Path) -> dict[str, str]:
    return dict(Fingerprints([root]).of(root / "family" / "stage.py", root))


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


def test_it_reaches_helpers_of_helpers_wherever_they_are_imported(root: Path) -> None:
    files = {name.split(":")[0] for name in of(root)}
    assert files == set(FILES) - {"family/unrelated.py", "family/__init__.py", "deep/__init__.py"}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("family/stage.py", "# a comment", "# another\n        # and more"),
        ("family/stage.py", '"""Run."""', '"""Run\n\n        and run.\n        """'),
        ("family/stage.py", '"""Does something."""', ""),
        ("family/stage.py", '"what it means"', '"what it really means"'),
        ("family/stage.py", '"""A stage."""', ""),
        ("family/stage.py", "a + b", "(a  +\n        b)"),
        ("family/stage.py", "FACTOR = 2", "FACTOR = (2)  # two"),
        (
            "family/stage.py",
            "from helper import scaled\n",
            "\n\nfrom helper import (\n    scaled,\n)\n",
        ),
        ("family/__init__.py", "Family", "The family"),
        ("family/__init__.py", '"""Family."""', ""),
        ("family/unrelated.py", "x = 1", "x = 2"),
        ("deep/er.py", "x + ZERO", "x + ZERO  # nothing added"),
    ],
)
def test_edits_that_change_nothing_keep_it(root: Path, name: str, old: str, new: str) -> None:
    before = of(root)
    edit(root, name, old, new)
    assert of(root) == before


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("family/stage.py", "FACTOR = 2", "FACTOR = 3", "family/stage.py:FACTOR"),
        ("family/stage.py", "b=1", "b=2", "family/stage.py:other"),
        ("family/stage.py", "size: int = 3", "size: int = 4", "family/stage.py:Stage"),
        ("family/stage.py", "size: int", "size: float", "family/stage.py:Stage"),
        ("family/stage.py", "later(near)", "later(-near)", "family/stage.py:Stage"),
        ("helper.py", "value(x)", "value(x) * 2", "helper.py:scaled"),
        ("deep/er.py", "ZERO = 0", "ZERO = 1", "deep/er.py:ZERO"),
        ("deep/er.py", "x + ZERO", "x - ZERO", "deep/er.py:value"),
        ("family/_near.py", "1", "2", "family/_near.py:near"),
        ("loaded.py", "1", "True", "loaded.py:x"),
        ("json.py", "1", "1.0", "json.py:shadow"),
    ],
)
def test_edits_that_change_something_change_it(
    root: Path, name: str, old: str, new: str, changed: str
) -> None:
    before = of(root)
    edit(root, name, old, new)
    after = of(root)
    assert {part for part in after if after[part] != before[part]} == {changed}
    assert after.keys() == before.keys()


def test_the_order_of_definitions_does_not_count(root: Path) -> None:
    before = of(root)
    head, _, tail = STAGE.partition("class Stage")
    body, _, other = tail.partition("\n\n\ndef other")
    (root / "family/stage.py").write_text(f"{head}def other{other}\n\nclass Stage{body}\n")
    assert of(root) == before


def test_definitions_of_one_name_all_count(root: Path) -> None:
    (root / "loaded.py").write_text("def x():\n    return 1\n\n\ndef x():\n    return 2\n")
    before = of(root)
    edit(root, "loaded.py", "return 1", "return 3")
    assert of(root) != before


def test_relative_imports(root: Path) -> None:
    edit(root, "family/stage.py", "from family._near import near", "from ._near import near")
    edit(root, "deep/er.py", "ZERO = 0", "from . import zero\nfrom .zero import z\nZERO = z")
    (root / "deep/zero.py").write_text("z = 0\n")
    assert {"family/_near.py:near", "deep/zero.py:z"} <= of(root).keys()


def test_a_package_counts_by_its_init_and_the_module_that_is_imported(root: Path) -> None:
    (root / "deep/__init__.py").write_text("print('setting')\n")
    (root / "deep/beside.py").write_text("x = 1\n")
    names = of(root)
    assert "deep/__init__.py:<module>" in names
    assert not any(name.startswith("deep/beside") for name in names)


def test_circles_end(root: Path) -> None:
    edit(root, "deep/er.py", "ZERO = 0", "import helper\nimport family.stage\nZERO = 0")
    assert of(root)


def test_installed_code_counts_by_its_version_only(root: Path) -> None:
    edit(root, "helper.py", "from deep.er", "import torch, numpy.linalg\nfrom deep.er")
    assert not any("torch" in name or "numpy" in name for name in of(root))


@pytest.mark.parametrize("body", ["def f(:\n", "x = '\n", "\0"])
def test_what_is_no_python_is_an_error_with_its_place(root: Path, body: str) -> None:
    (root / "deep/er.py").write_text(body)
    with pytest.raises(ConfigError) as caught:
        of(root)
    where = caught.value.problems[0].where
    assert where is not None
    assert (where.file, where.line) == (str(root / "deep/er.py"), 1)


@pytest.mark.parametrize(
    "chain",
    [
        "def near(x):\n    if x:\n        return 0\n"
        + "".join(f"    elif x == {i}:\n        return {i}\n" for i in range(1000)),
        f"near = {' + '.join(['0'] * 1000)}\n",
    ],
    ids=["elif", "sum"],
)
def test_long_chains_are_read(root: Path, chain: str) -> None:
    compile(chain, "chain", "exec")
    (root / "family/_near.py").write_text(chain)
    before = of(root)
    (root / "family/_near.py").write_text(chain.replace("0", "1", 1))
    assert of(root) != before


@pytest.mark.filterwarnings("always")
def test_a_text_that_is_no_good_code_is_no_warning(
    root: Path, recwarn: pytest.WarningsRecorder
) -> None:
    edit(root, "deep/er.py", "ZERO = 0", "ZERO = 0\nTEXTS = ['1if ZERO else 2', '1if ZERO else 3']")
    assert of(root)
    assert not recwarn.list


def test_what_is_nested_deeper_than_python_reads_is_an_error(root: Path) -> None:
    (root / "deep/er.py").write_text(f"x = {'not ' * 10_000}1\n")
    with pytest.raises(ConfigError, match="nested too deeply"):
        of(root)


def test_what_cannot_be_read_is_an_error(root: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Fingerprints([root]).of(root / "absent.py", root)


def test_docstrings_count_where_they_are_read(tmp_path: Path) -> None:
    def code(docstring: str, use: str) -> dict[str, str]:
        text = f'"""{docstring}"""\n\n\ndef f():\n    return {use}\n'
        (tmp_path / "stage.py").write_text(text)
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    for use in ("__doc__", "getattr(f, '__doc__')", "vars(f)['__doc__']", "T(M).json_schema()"):
        assert code("A", use) != code("B", use)
    assert code("A", "1") == code("B", "1")


def test_comments_count_where_code_is_read_as_text(tmp_path: Path) -> None:
    def code(comment: str, use: str) -> dict[str, str]:
        text = f"import inspect\n\n\ndef f():  # {comment}\n    return {use}\n"
        (tmp_path / "stage.py").write_text(text)
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert code("A", "inspect.getsource(f)") != code("B", "inspect.getsource(f)")
    assert code("A", "1") == code("B", "1")
