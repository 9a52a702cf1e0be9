"""Which files and distributions a module's name may mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.fingerprint import Fingerprints, Reached
from edgepipe.fingerprint.modules import Modules


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def reach(tmp_path: Path, files: dict[str, str]) -> Reached:
    """What ``u.py:go`` of a project reaches."""
    write(tmp_path, files)
    plugins = tmp_path / "plugins"
    return Fingerprints([plugins, tmp_path]).reach(tmp_path / "u.py", tmp_path, "go")


@pytest.mark.parametrize(
    "path",
    ["sys.path.append('lib')", "sys.path.insert(0, str(ROOT / 'li' + 'b'))", "site.addsitedir(x)"],
)
@pytest.mark.parametrize("file", ["lib/mylib.py", "lib/mylib/__init__.py", "lib/mylib/deep.py"])
def test_what_a_change_of_the_search_path_finds(tmp_path: Path, path: str, file: str) -> None:
    use = "from mylib.deep import f" if file.endswith("deep.py") else "from mylib import f"
    files = {
        "u.py": f"def go(x):\n    {path}\n    {use}\n    return f()\n",
        file: "def f():\n    return 1\n",
    }
    found = reach(tmp_path, files)
    assert any(name.endswith("py:f") for name in found.code)


@pytest.mark.parametrize("module", ["numpy", "shared"])
def test_a_change_of_the_search_path_may_hide_another_module(tmp_path: Path, module: str) -> None:
    text = f"import sys\ndef go():\n    sys.path.insert(0, 'lib')\n    from {module} import f\n"
    body = "def f():\n    return 1\n"
    files = {"u.py": text, "shared.py": body, f"lib/{module}.py": body}
    before = reach(tmp_path, files).code
    assert reach(tmp_path, {f"lib/{module}.py": body.replace("1", "2")}).code != before


@pytest.mark.parametrize("file", ["numpy/notes.txt", "numpy/helper.py", "numpy.py"])
def test_what_is_installed_counts_whatever_has_its_name(tmp_path: Path, file: str) -> None:
    files = {"u.py": "import numpy\ndef go():\n    return numpy.pi\n", file: "x = 1\n"}
    assert reach(tmp_path, files).foreign == {"numpy"}


def test_what_is_installed_is_not_sought_everywhere(tmp_path: Path) -> None:
    files = {
        "u.py": "import numpy\ndef go():\n    return numpy.pi\n",
        "plugins/convert/numpy.py": "def pi():\n    return 3\n",
    }
    assert not any("numpy.py" in name for name in reach(tmp_path, files).code)


@pytest.mark.parametrize(
    ("file", "use"),
    [
        ("fast.so", "import fast"),
        ("fast.abi3.so", "from fast import f"),
        ("plugins/fast.so", "import fast"),
        ("pkg/fast.so", "from pkg import fast"),
        ("pkg/fast.pyc", "import pkg.fast"),
    ],
)
def test_compiled_modules(tmp_path: Path, file: str, use: str) -> None:
    files = {"u.py": f"def go():\n    {use}\n", "pkg/__init__.py": "", file: "1"}
    before = reach(tmp_path, files).code
    assert reach(tmp_path, {file: "2"}).code != before


def test_names_are_listed_where_they_were_looked_for(tmp_path: Path) -> None:
    write(tmp_path, {"plugins/a.py": "", "plugins/deep/b.txt": "", "plugins/old.pyc": ""})
    write(tmp_path, {"plugins/__pycache__/a.pyc": ""})
    modules = Modules([tmp_path])
    modules.files(tmp_path / "plugins")
    plugins = tmp_path / "plugins"
    assert modules.listed == {plugins: {"a.py", "deep"}, plugins / "deep": {"b.txt"}}
