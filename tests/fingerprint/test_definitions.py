"""Which definitions of a file count: those that are meant, and what importing it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from reaching import TWO, reached

from edgepipe.fingerprint import Fingerprints

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
        ("from r import R\nONE = R('a').split()\n", True),
        ("from r import Path\nONE = Path('a').resolve()\n", True),
        ("from r import overload\n@overload\ndef one():\n    pass\n", True),
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
        "from pathlib import Path\nONE = Path(__file__).resolve().parent\n",
        "import threading\nONE = threading.Lock()\n",
        "import re\nONE = 'a b'.split()\n",
        "import re\nONE = ', '.join(['a'])\n",
        "from collections import defaultdict\nONE = defaultdict(list)\n",
        "from datetime import timedelta\nONE = timedelta(days=1)\n",
        "from typing import overload\n@overload\ndef one(x: int): ...\n"
        "@overload\ndef one(x: str): ...\ndef one(x):\n    pass\n",
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


@pytest.mark.parametrize(
    "definition",
    [
        "class A:\n    k = N\n",
        "class A:\n    k: N\n",
        "class A:\n    def f(self, x=N):\n        pass\n",
        "def f(x=N):\n    pass\n",
        "def f(*, x=N):\n    pass\n",
        "def f(x: N):\n    pass\n",
        "def f() -> N:\n    pass\n",
        "M = N\n",
        "M: int = N\n",
    ],
)
@pytest.mark.parametrize(
    "again",
    [
        "N = 2\n",
        "if open:\n    N = 2\n",
        "def g():\n    global N\n    N = 2\n\n\ng()\n",
        "from m import N\n",
    ],
)
def test_the_place_counts_of_what_reads_a_name_that_is_bound_again(
    tmp_path: Path, definition: str, again: str
) -> None:
    def code(*parts: str) -> dict[str, str]:
        reached(tmp_path, {"stage.py": "N = 1\n" + "".join(parts), "m.py": "N = 1\n"})
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert code(definition, again) != code(again, definition)


def test_no_place_counts_of_what_reads_it_while_running(tmp_path: Path) -> None:
    def code(*parts: str) -> dict[str, str]:
        reached(tmp_path, {"stage.py": "N = 1\n" + "".join(parts)})
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    definition, again = "def f():\n    return N\n", "N = 2\n"
    assert code(definition, again) == code(again, definition)


def test_classes_found_by_what_they_derive_from(tmp_path: Path) -> None:
    own = "class Base:\n    pass\n\n\nclass Heir(Base):\n    pass\n"
    found = reached(
        tmp_path, {"stage.py": "from m import Base\nBase.__subclasses__()\n", "m.py": own}
    )
    assert "m.py:Heir" in found
    (tmp_path / "stage.py").write_text("import lib, m\nlib.Base.__subclasses__()\n")
    assert "m.py:Heir" not in Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path)
