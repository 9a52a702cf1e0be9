"""Code that is imported, or started, by a name that is a text counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.fingerprint import Fingerprints

HEAD = (
    "import importlib, os, pkgutil, pydoc, subprocess, sys\nfrom importlib import import_module\n"
)
FILES = {
    "plugins/_h.py": "def f():\n    return 1\n\n\nif __name__ == '__main__':\n    import _late\n    _late.g()\n",
    "plugins/_late.py": "def g():\n    return 1\n\n\ndef unused():\n    return 2\n",
    "plugins/_steps/__init__.py": "",
    "plugins/_steps/left.py": "def f():\n    return 1\n",
    "plugins/fam/other.py": "def f():\n    return 1\n",
    "lib/h2.py": "def f():\n    return 1\n",
    "lib/broken.py": "this is no Python\n",
}
H, LEFT, ALL = (
    {"_h.py:f"},
    {"_steps/left.py:f"},
    {"_h.py:f", "_steps/left.py:f", "fam/other.py:f", "lib/h2.py:f"},
)
MAIN = {"_h.py:f", "_h.py:<main>", "_late.py:g"}


def reached(tmp_path: Path, stage: str, files: dict[str, str]) -> set[str]:
    """What a stage of a project reaches beside itself."""
    for name, text in {**FILES, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    plugins = tmp_path / "plugins"
    code = Fingerprints([plugins, tmp_path]).of(plugins / stage, plugins)
    return {name for name in code if not name.startswith((stage, "_lazy"))}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import_module('_h')", H),
        ("import_module(name='_h')", H),
        ("load('_h')\nfrom importlib import import_module as load", H),
        ("I('_h')\nI = importlib.import_module", H),
        ("lazy.load('_h').f()\nimport lazy_loader as lazy", H),
        ("list(map(import_module, ['_h']))", ALL),
        ("pkgutil.resolve_name('_h:f')", H),
        ("pkgutil.resolve_name('_h.f')", H),
        ("pydoc.locate('_h.f')", H),
        ("import_module('.left', '_steps')", LEFT),
        ("import_module('.left', package='_steps')", LEFT),
        ("import_module('.left', x)", LEFT),
        ("__import__('left', globals(), None, [], 1)", set()),
        ("import_module('_steps.%s' % x)", LEFT),
        ("import_module('_steps.{}'.format(x))", LEFT),
        ("import_module(x)", ALL),
        ("exec('import _h; _h.f()')", H),
        ("exec(f'import {x}')", ALL),
        ("eval('__import__(\"_h\").f()')", H),
        ("exec('''\n        from _steps import left\n        left.f()\n    ''')", LEFT),
        ("print('do not import this')", set()),
        ("dictConfig({'class': '_h.f'})", H),
        ("logging.config.dictConfig({'()': '_steps.left:f'})", LEFT),
        ("fn: pydantic.ImportString = '_h.f'", H),
        ("hydra.utils.instantiate({'_target_': '_h.f'})", H),
        ("werkzeug.utils.import_string('_steps.left:f')", LEFT),
        ("print('_h.f')", set()),
        ("subprocess.run([sys.executable, '-c', 'import _steps.left'])", LEFT),
        ("subprocess.run([sys.executable, '-m', '_h'])", MAIN),
        ("os.system(f'{sys.executable} -m _h')", MAIN),
        ("os.system('python3 plugins/_h.py --fast')", MAIN),
        ("subprocess.run(['python', os.path.dirname(__file__) + '/_h.py'])", MAIN),
    ],
)
def test_imports_by_text(tmp_path: Path, code: str, names: set[str]) -> None:
    found = reached(tmp_path, "s.py", {"plugins/s.py": f"{HEAD}def run(x):\n    {code}\n"})
    found = {name for name in found if not name.endswith(":<data>")}
    assert names <= found
    if names != ALL:
        assert not ALL & found - names


@pytest.mark.parametrize(
    "files",
    [
        {"plugins/fam/s.py": f"{HEAD}def run(x):\n    import_module(x)\n"},
        {
            "plugins/fam/s.py": "from _lazy import load\nload('_h')\n",
            "plugins/_lazy/__init__.py": "import importlib\ndef load(n):\n    return importlib.import_module(n)\n",
        },
    ],
)
def test_all_of_the_project_may_be_meant(tmp_path: Path, files: dict[str, str]) -> None:
    found = reached(tmp_path, "fam/s.py", files)
    assert found >= ALL
    # What is no Python counts by its bytes.
    assert "lib/broken.py:<data>" in found


def test_a_program_that_starts_itself(tmp_path: Path) -> None:
    text = f"{HEAD}def go():\n    subprocess.run([sys.executable, __file__])\n"
    text += "if __name__ == '__main__':\n    print(1)\n"
    files = {"plugins/_child.py": text, "plugins/s.py": "from _child import go\ngo()\n"}
    assert "_child.py:<main>" in reached(tmp_path, "s.py", files)
