"""Fingerprints: what of the code counts, and what does not."""

from __future__ import annotations

from collections.abc import Callable
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

Edit = Callable[[str, str, str], None]


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


def test_what_cannot_be_read_is_an_error(root: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Fingerprints([root]).of(root / "absent.py", root)


def reached(tmp_path: Path, files: dict[str, str]) -> set[str]:
    """What ``stage.py`` reaches among some files."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return set(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))


TWO = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
BOTH = {"m.py:one", "m.py:two"}


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("from m import one\none()\n", {"m.py:one"}),
        ("import m\nm.one()\n", {"m.py:one"}),
        ("import m as n\nn.two()\n", {"m.py:two"}),
        ("def f():\n    from m import two\n    return two()\n", {"m.py:two"}),
        ("try:\n    from m import one\nexcept ImportError:\n    one = None\none\n", {"m.py:one"}),
        ("from m import *\n", BOTH),
        ("import m\nx = m\n", BOTH),
        ("import m\ngetattr(m, 'o' + 'ne')\n", BOTH),
        ("import m\nvars(m)\n", BOTH),
        ("import importlib\nimportlib.import_module('m')\n", BOTH),
        ("__import__('m').one()\n", BOTH),
        ("import importlib\nimportlib.import_module(f'm{1:.0s}')\n", BOTH),
        ("import sys\nARGS = [sys.executable, '-m', 'm']\n", BOTH),
        ("import runpy\nrunpy.run_module('m')\n", BOTH),
        ("import m\n", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from m import one\n", set()),
        ("import m\nclass C(m.one):\n    pass\n", {"m.py:one"}),
        ("import m\n@m.two\ndef f():\n    pass\n", {"m.py:two"}),
        ("import m\ndef f(x=m.one):\n    pass\n", {"m.py:one"}),
        ("import m\ndef f(x: 'm.one') -> None:\n    pass\n", {"m.py:one"}),
        ("class K:\n    from m import one\n", {"m.py:one"}),
        ("class K:\n    import m\n", BOTH),
        (
            "class K:\n    def f(self):\n        class L:\n            from m import two\n",
            {"m.py:two"},
        ),
    ],
)
def test_of_a_helper_the_definitions_that_are_meant_count(
    tmp_path: Path, stage: str, names: set[str]
) -> None:
    found = reached(tmp_path, {"stage.py": stage, "m.py": TWO})
    assert {name for name in found if name.startswith("m.py:")} == names


@pytest.mark.parametrize(
    ("module", "always"),
    [
        ("def one():\n    return 1\n", False),
        ("ONE = [1, {'a': (2, -3)}]\n", False),
        ("from functools import cache\n@cache\ndef one():\n    return 1\n", False),
        ("import other\n@other.register\ndef one():\n    return 1\n", True),
        ("import other\nclass One(other.Base):\n    pass\n", True),
        ("class Base:\n    def __init_subclass__(cls):\n        ALL.append(cls)\nALL = []\n", True),
        ("ONE = open('x')\n", True),
        ("def one(x=print()):\n    return 1\n", True),
        ("def one():\n    return 1\ndef one():\n    return 2\n", True),
        ("ONE = 1\nONE += 1\n", True),
        ("D = {}\nD['a'] = 1\nONE = D['a']\n", True),
        ("def f():\n    D['a'] = 1\nD = {}\nf()\nONE = D['a']\n", True),
        ("if True:\n    ONE = 1\n", True),
        ("from r import R\ndef f():\n    pass\nONE = R + f\n", True),
        ("from r import R\nONE = not R\n", True),
        ("from r import R\nONE = 1 if R else 2\n", True),
        ("from r import R\nONE = R < 1\n", True),
        ("from r import R\nONE = R[1]\n", True),
        ("from r import R\nONE = R.a\n", True),
        ("import r\nONE = r.R.a\n", True),
        ("from r import R\nTWO = [R]\nONE = TWO[0] + 1\n", True),
        ("from r import R\nONE: R(1) = 3\n", True),
        ("from r import R\ndef one(x: R(1)):\n    pass\n", True),
        ("from r import R\ndef one() -> R(1):\n    pass\n", True),
        ("from r import R\nclass One:\n    x: R(1)\n", True),
    ],
)
def test_what_importing_does_counts_though_nothing_names_it(
    tmp_path: Path, module: str, always: bool
) -> None:
    found = reached(tmp_path, {"stage.py": "import m\n", "m.py": module})
    assert any(name.startswith("m.py:") for name in found) is always


@pytest.mark.parametrize(
    "module",
    [
        "import r\nONE = r.R\n",
        "import r.s\nONE = r.s.R\n",
        "from r import R\nONE = [R, (R, 1)]\n",
        "import logging\nONE = logging.getLogger(__name__)\n",
        "import numpy as np\nONE = np.float32 | np.pi\n",
        "from r import R\ndef one(x: R[int] | None):\n    pass\n",
    ],
)
def test_what_only_binds_a_name_does_not_count_unasked(tmp_path: Path, module: str) -> None:
    def code(text: str) -> dict[str, str]:
        reached(tmp_path, {"stage.py": "import m\n", "m.py": text})
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert code(module) == code(module + "TWO = 2\n") == code(module.partition("\n")[0] + "\n")


@pytest.mark.parametrize(
    ("get", "every"),
    [
        ("vars()['f_' + n]()", True),
        ("T['f_' + n]()\n\n\nT = vars()", True),
        ("vars(n)['x']", False),
        ("sys._getframe().f_globals['f_' + n]()", True),
        ("sys._getframe().f_locals", True),
    ],
)
def test_names_that_a_file_looks_up_in_itself(tmp_path: Path, get: str, every: bool) -> None:
    text = f"import sys\n\n\ndef f_a():\n    return 1\n\n\ndef get(n):\n    return {get}\n"
    found = reached(tmp_path, {"stage.py": "from m import get\nget('a')\n", "m.py": text})
    assert ("m.py:f_a" in found) is every


def test_the_place_of_what_has_one_counts(tmp_path: Path) -> None:
    text = "import r\n\n\n@r.add\ndef one():\n    return 1\n\n\n@r.add\ndef two():\n    return 2\n"
    head, one, two = text.split("\n\n\n")
    (tmp_path / "stage.py").write_text(text)
    first = Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path)
    (tmp_path / "stage.py").write_text(f"{head}\n\n\n{two}\n\n\n{one}\n")
    second = Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path)
    assert {name for name in first if first[name] != second[name]} == {"stage.py:<module>"}


def test_packages_hand_names_on(tmp_path: Path) -> None:
    found = reached(
        tmp_path,
        {
            "stage.py": "from pkg import api, thing\napi.one()\nthing()\n",
            "pkg/__init__.py": "from pkg import _impl as api\nfrom ._impl import two as thing\nprint()\n",
            "pkg/_impl.py": TWO,
        },
    )
    assert "pkg/_impl.py:two" in found
    assert "pkg/_impl.py:one" in found
    assert "pkg/__init__.py:<module>" in found


def test_star_brings_the_modules_that_a_package_lists(tmp_path: Path) -> None:
    files = {"pkg/__init__.py": "__all__ = ['m']\n", "pkg/m.py": "import os\nos.umask(0)\n"}
    found = reached(tmp_path, {"stage.py": "from pkg import *\n", **files})
    assert "pkg/m.py:<module>" in found


def test_namespace_packages(tmp_path: Path) -> None:
    found = reached(
        tmp_path, {"stage.py": "import ns.deep.m\nns.deep.m.one()\n", "ns/deep/m.py": TWO}
    )
    assert "ns/deep/m.py:one" in found
    assert "ns/deep/m.py:two" not in found


def test_a_name_that_is_there_twice_counts_twice(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.py").write_text(f"def one():\n    return '{folder}'\n")
    (tmp_path / "a/stage.py").write_text("from m import one\none()\n")

    def code() -> dict[str, str]:
        roots = [tmp_path / "a", tmp_path / "b"]
        return dict(Fingerprints(roots).of(tmp_path / "a/stage.py", tmp_path / "a"))

    before = code()
    (tmp_path / "b/m.py").write_text("def one():\n    return 'c'\n")
    assert code() != before
    (tmp_path / "b/m.py").unlink()
    assert {name for name in code() if name.startswith("m.py")} == {"m.py:one"}


def test_a_family_may_have_the_name_of_a_package(tmp_path: Path) -> None:
    files = {"convert/onnx.py": "x = 1\n", "convert/other.py": "import onnx\nonnx.load\n"}
    reached(tmp_path, {"stage.py": "", **files})
    prints = Fingerprints([tmp_path])
    assert not any(
        name.startswith("convert/onnx.py")
        for name in prints.of(tmp_path / "convert/other.py", tmp_path)
    )
    assert prints.reach(tmp_path / "convert/other.py", tmp_path).foreign == {"onnx"}


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("Path(__file__).parent / 'a.json'", {"a.json"}),
        ("Path(__file__).with_name(f'{x}.json')", {"a.json", "b.json", "deep/c.json"}),
        ("(Path(__file__).parent / 'deep').iterdir()", {"deep/c.json"}),
        ("Path(__file__).parent.glob('*.txt')", {"t.txt"}),
        ("os.path.join(os.path.dirname(__file__), 'a.json')", {"a.json"}),
        ("importlib.resources.files('pkg').joinpath('t.txt')", {"t.txt"}),
        ("pkgutil.get_data(__package__, 'a.json')", {"a.json"}),
        ("Path('a.json')", set()),
    ],
)
def test_files_beside_the_code_that_reads_them(tmp_path: Path, code: str, read: set[str]) -> None:
    head = "import importlib.resources, os, pkgutil\nfrom pathlib import Path\n"
    for name in ("a.json", "b.json", "t.txt", "deep/c.json"):
        (tmp_path / "pkg" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pkg" / name).write_text(name)
    found = reached(
        tmp_path,
        {
            "stage.py": "from pkg.m import f\nf()\n",
            "pkg/__init__.py": "",
            "pkg/m.py": f"{head}\n\ndef f(x=0):\n    return {code}\n",
        },
    )
    data = {n.removeprefix("pkg/").removesuffix(":<data>") for n in found if n.endswith(":<data>")}
    assert data == read


def test_docstrings_count_where_they_are_read(tmp_path: Path) -> None:
    def code(docstring: str, use: str) -> dict[str, str]:
        text = f'"""{docstring}"""\n\n\ndef f():\n    return {use}\n'
        (tmp_path / "stage.py").write_text(text)
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert code("A", "__doc__") != code("B", "__doc__")
    assert code("A", "1") == code("B", "1")


def test_comments_count_where_code_is_read_as_text(tmp_path: Path) -> None:
    def code(comment: str, use: str) -> dict[str, str]:
        text = f"import inspect\n\n\ndef f():  # {comment}\n    return {use}\n"
        (tmp_path / "stage.py").write_text(text)
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert code("A", "inspect.getsource(f)") != code("B", "inspect.getsource(f)")
    assert code("A", "1") == code("B", "1")


def test_classes_found_by_what_they_derive_from(tmp_path: Path) -> None:
    own = "class Base:\n    pass\n\n\nclass Heir(Base):\n    pass\n"
    found = reached(
        tmp_path, {"stage.py": "from m import Base\nBase.__subclasses__()\n", "m.py": own}
    )
    assert "m.py:Heir" in found
    (tmp_path / "stage.py").write_text("import lib, m\nlib.Base.__subclasses__()\n")
    assert "m.py:Heir" not in Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path)
