"""Names that packages hand on, and names that several files have."""

from __future__ import annotations

from pathlib import Path

import pytest
from reaching import TWO, reached

from edgepipe.fingerprint import Fingerprints


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


def test_star_binds_the_modules_that_a_package_lists(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "__all__ = ['inner', 'm', 'CONSTANT']\nCONSTANT = 1\n",
        "pkg/m.py": TWO,
        "pkg/inner/__init__.py": "__all__ = ['deep']\n",
        "pkg/inner/deep.py": TWO,
    }
    stage = "from pkg import *\nm.one()\ninner.deep.one()\n"
    found = reached(tmp_path, {"stage.py": stage, **files})
    assert found >= {"pkg/m.py:one", "pkg/inner/deep.py:one"}


@pytest.mark.parametrize(
    "made", ["attach(__name__, submod_attrs={'m': ['one']})", "attach_stub(__name__, __file__)"]
)
def test_modules_of_a_lazy_package(tmp_path: Path, made: str) -> None:
    init = f"import lazy_loader as lazy\n__getattr__, __dir__, __all__ = lazy.{made}\n"
    files = {"pkg/__init__.py": init, "pkg/m.py": TWO, "other.py": TWO}
    found = reached(tmp_path, {"stage.py": "import pkg\npkg.one()\n", **files})
    assert "pkg/m.py:one" in found
    assert "other.py:one" not in found


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
    "init",
    [
        "try:\n    from .fast import f\nexcept ImportError:\n    from .slow import f\n",
        "import sys\nif sys.version_info > (3,):\n    from .fast import f\nelse:\n"
        "    from .slow import f\n",
        "from .fast import f\nfrom .slow import f\n",
    ],
)
@pytest.mark.parametrize("stage", ["from lib import f\nf()\n", "import lib\nlib.f()\n"])
def test_all_that_a_package_may_bind_to_a_name_counts(
    tmp_path: Path, init: str, stage: str
) -> None:
    body = "def f():\n    return 1\n"
    files = {"stage.py": stage, "lib/__init__.py": init, "lib/slow.py": body}
    assert "lib/slow.py:f" in reached(tmp_path, files)
    assert {"lib/slow.py:f", "lib/fast.py:f"} <= reached(tmp_path, {"lib/fast.py": body})


@pytest.mark.parametrize(
    "init",
    [
        "try:\n    from . import fast as m\nexcept ImportError:\n    from . import slow as m\n",
        "from . import m\nfrom . import fast as m\nfrom . import slow as m\n",
    ],
)
def test_all_modules_that_a_package_may_bind_to_a_name_count(tmp_path: Path, init: str) -> None:
    body = "def f():\n    return 1\n\n\ndef unused():\n    return 2\n"
    files = {f"lib/{name}.py": body for name in ("fast", "slow", "m")}
    files |= {"stage.py": "from lib import m\nm.f()\n", "lib/__init__.py": init}
    found = reached(tmp_path, files)
    assert {"lib/fast.py:f", "lib/slow.py:f"} <= found
    assert not any(name.endswith(":unused") for name in found)
