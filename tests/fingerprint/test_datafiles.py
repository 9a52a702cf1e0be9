"""Files that code reads beside itself count, and others do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from reaching import reached

from edgepipe.fingerprint import Fingerprints

HEAD = "import os, sys\nfrom pathlib import Path\n"
LABELS = "_pkg/labels.txt"
DATA = (
    "data/x.txt",
    "data/y.txt",
    "plugins/_data/x.txt",
    "plugins/near.bin",
    "plugins/_pkg/sub/deep.txt",
    "plugins/_pkg/labels.txt",
    "other/z.txt",
)


def read(tmp_path: Path, files: dict[str, str]) -> set[str]:
    """Which files the stage ``plugins/s.py`` of a project reads."""
    for name in DATA:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(HEAD + text)
    plugins = tmp_path / "plugins"
    code = Fingerprints([plugins, tmp_path]).of(plugins / "s.py", plugins)
    return {name.removesuffix(":<data>") for name in code if name.endswith(":<data>")}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("(Path(__file__).parent.parent / 'data' / 'y.txt')", {"data/x.txt", "data/y.txt"}),
        ("os.path.join(os.path.dirname(__file__), '../other/z.txt')", {"other/z.txt"}),
        ("Path(__file__).parent / '../other/z.txt'", {"other/z.txt"}),
        ("os.path.join(os.path.dirname(__file__), os.pardir, 'z.txt')", {"other/z.txt"}),
        ("Path(__file__).parents[N] / 'z.txt'\nN = 1", {"other/z.txt"}),
        ("Path(__file__).parents[int(1)] / 'z.txt'", {"other/z.txt"}),
        ("Path(__file__).with_name('near.bin')", {"near.bin"}),
        ("Path(__file__).parent / '.'.join([x, 'bin'])", None),
        ("[Path(__file__).with_name('near.bin'), Path(__file__).parent / x]", None),
        ("os.walk(os.path.dirname(__file__))", None),
        ("open(os.path.dirname(__file__) + '/' + x)", None),
        ("f'{os.path.dirname(__file__)}/{x}'", None),
        ("f'{os.path.dirname(__file__)}/sub/{x}'", {"_pkg/sub/deep.txt"}),
        ("Path(__file__).parent / 'sub' / x", {"_pkg/sub/deep.txt"}),
        ("D / x\nD = Path(__file__).parent / '_pkg' / 'sub'", {"_pkg/sub/deep.txt", LABELS}),
        ("Path(__file__).parent / x / 'deep.txt'", {"_pkg/sub/deep.txt"}),
        ("os.path.join(os.path.dirname(__file__), 'sub', x)", {"_pkg/sub/deep.txt"}),
        ("(Path(__file__).parent / 'near.bin').with_name(x)", None),
        ("(Path(__file__).parent / x).rglob('*')", None),
        ("Path(__import__('inspect').getfile(type(x))).parent / 'near.bin'", {"near.bin"}),
        ("Path(__spec__.origin).parent / 'near.bin'", {"near.bin"}),
        ("x.project / 'z.txt'", set()),
        ("x.parent / 'z.txt'", set()),
        ("self.project / 'z.txt'", set()),
        ("f(project='z.txt')", set()),
    ],
)
def test_files_of_the_project(tmp_path: Path, code: str, names: set[str] | None) -> None:
    every = {"_data/x.txt", "near.bin", "_pkg/sub/deep.txt", "_pkg/labels.txt"}
    found = read(tmp_path, {"plugins/s.py": f"def f(x):\n    return {code}\n"})
    assert found == (every if names is None else names)


@pytest.mark.parametrize(
    ("paths", "stage", "names"),
    [
        ("ROOT = Path(__file__).parent", "ROOT / 'other' / 'z.txt'", {"other/z.txt"}),
        ("ROOT = Path(__file__).parent", "ROOT / 'plugins' / 'near.bin'", None),
        ("ROOT = Path(__file__).parent / 'absent'", "ROOT.parent / 'z.txt'", {"other/z.txt"}),
        ("ROOT = Path(__file__).parent", "ROOT / x.name", None),
        ("ROOT = Path(__file__).parent", "1 / x.count", set()),
    ],
)
def test_folders_that_another_file_finds(
    tmp_path: Path, paths: str, stage: str, names: set[str] | None
) -> None:
    files = {
        "paths.py": paths + "\n",
        "plugins/s.py": f"from paths import ROOT\ndef f(x):\n    return ROOT, {stage}\n",
    }
    found = read(tmp_path, files)
    assert "near.bin" in found or "plugins/near.bin" in found if names is None else found == names


def test_a_folder_handed_over(tmp_path: Path) -> None:
    files = {
        "paths.py": "ROOT = Path(__file__).parent\n",
        "reader.py": "def labels(folder):\n    return (folder / 'z.txt').read_text()\n",
        "plugins/s.py": "from paths import ROOT\nfrom reader import labels\nlabels(ROOT)\n",
    }
    assert read(tmp_path, files) == {"other/z.txt"}


@pytest.mark.parametrize(
    "code",
    [
        "from importlib import resources\nresources.path('_pkg', 'labels.txt')",
        "from importlib.resources import files as F\nF('_pkg') / 'labels.txt'",
        "from importlib.resources import files\nfiles(package='_pkg') / 'labels.txt'",
        "import importlib.resources as r, _pkg\nr.files(_pkg).joinpath('labels.txt')",
        "import pkgutil\npkgutil.get_data('_pkg', 'labels.txt')",
    ],
)
def test_files_of_packages(tmp_path: Path, code: str) -> None:
    files = {"plugins/_pkg/__init__.py": "", "plugins/s.py": f"{code}\n"}
    assert "_pkg/labels.txt" in read(tmp_path, files)


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


def test_code_that_a_path_leads_to_counts_as_code(tmp_path: Path) -> None:
    files = {
        "lib/h.py": "def g():\n    return 1\n",
        "plugins/s.py": "CHILD = Path(__file__).parent.parent / 'lib' / 'h.py'\n",
    }
    read(tmp_path, files)
    plugins = tmp_path / "plugins"
    assert "lib/h.py:g" in Fingerprints([plugins, tmp_path]).of(plugins / "s.py", plugins)


def test_a_template_of_code_that_is_no_python_counts_by_its_bytes(tmp_path: Path) -> None:
    files = {
        "plugins/s.py": "Path(__file__).parent / 'form.py'\n",
        "plugins/form.py": "{{ no }} x\n",
    }
    assert read(tmp_path, files) == {"form.py"}


def test_installed_packages_in_the_project_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "env" / "z.txt").write_text("")
    found = read(tmp_path, {"plugins/s.py": "Path(__file__).parent.parent / 'z.txt'\n"})
    assert found == {"other/z.txt"}
