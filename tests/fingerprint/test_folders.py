"""Files count that code finds beside itself by other ways than a plain path."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.fingerprint import Fingerprints

HEAD = (
    "import os, glob, string\nfrom os.path import dirname, join\nfrom pathlib import Path\n"
    "H = Path(__file__).parent\nD = os.path.dirname(__file__)\n"
)
FILES = (
    "top.json",
    "data/far.json",
    "plugins/up.json",
    "plugins/x/a.json",
    "plugins/x/10",
    "plugins/x/data/deep/b.json",
    "plugins/x/d/c.bin",
    "plugins/x/fold1/e.bin",
)
EVERY = {name for name in FILES if name.startswith("plugins/x/")}
UP = EVERY | {"plugins/up.json"}
DEEP = {"plugins/x/data/deep/b.json"}
FOLD = {"plugins/x/fold1/e.bin"}
ONE = {"plugins/x/d/c.bin"}
FAR = {"data/far.json"}


def read(project: Path, text: str) -> set[str]:
    """Which files the stage ``plugins/x/s.py`` of a project reads."""
    for name in FILES:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    stage = project / "plugins" / "x" / "s.py"
    stage.write_text(text)
    found = Fingerprints([project / "plugins", project]).reach(stage, project / "plugins")
    return {path.relative_to(project).as_posix() for path in found.data}


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("H.glob('data/*')", DEEP),
        ("H.glob('data/*.*')", DEEP),
        ("H.glob('data/**/*')", DEEP),
        ("glob.glob(os.path.join(D, 'data/*'))", DEEP),
        ("glob.glob(f'{D}/data/*')", DEEP),
        ("open(os.path.join(D, 'data/%s' % x))", DEEP),
        ("open(D + '/data/' + x)", DEEP),
        ("H.glob('[ab].json')", {"plugins/x/a.json", *DEEP}),
        ("[p.iterdir() for p in H.glob('fold*')]", FOLD),
        ("H / f'{x}ld1' / x", FOLD),
        ("H / 'd' / x", ONE),
        ("glob.glob('d/*', root_dir=D)", ONE),
        ("numpy.ctypeslib.load_library('libx', D)", EVERY),
        ("numpy.ctypeslib.load_library('libx', loader_path=__file__)", EVERY),
        ("numpy.ctypeslib.load_library('libx', H / 'd')", ONE),
        ("torch.ops.load_library(H / 'd' / 'c.bin')", ONE),
        ("H / f'd{x}' / x", DEEP | ONE),
        ("glob.glob('*', root_dir=D)", EVERY),
        ("join(D, x)", EVERY),
        ("os.path.join(*[D, x])", EVERY),
        ("os.path.join(D, '..', x)", UP),
        ("os.path.join(D, os.pardir, x)", UP),
        ("os.path.join(D, U, x)\nU = '..'", UP),
        ("H.joinpath('..', x)", UP),
        ("os.path.join(D, '..')", set()),
        ("Path(D, x)", EVERY),
        ("Path(D, 'data', x)", DEEP),
        ("os.path.join(DATA, x)\nDATA = os.path.join(D, 'data')", DEEP),
        ("join(DATA, x)\nDATA = join(D, 'data')", DEEP),
        ("DATA / x\nDATA = H.joinpath('data')", DEEP),
        ("os.chdir(D)", EVERY),
        ("os.chdir(os.path.join(D, 'data'))", DEEP),
        ("os.path.join(D, '..', 'data', x)", DEEP),
        ("'/'.join([D, x])", EVERY),
        ("''.join([D, '/', x])", EVERY),
        ("os.sep.join([D, x])", EVERY),
        ("'/'.join([D, 'data', x])", DEEP),
        ("', '.join([x, D])", set()),
        ("D + os.sep + x", EVERY),
        ("D + os.sep + 'a.json'", {"plugins/x/a.json"}),
        ("'{h}/{n}'.format(h=H, n=x)", EVERY),
        ("'{}/data/{}'.format(H, x)", DEEP),
        ("string.Template('$h/$n').substitute(h=H, n=x)", EVERY),
        ("H / str(SIZE)\nSIZE = 10", EVERY),
        ("H / n\nn = 'a.json'\nmatch x:\n    case {'file': n}:\n        pass", EVERY),
        ("H / n\nfor n in n: pass", EVERY),
        ("H / n\nfor m, n in zip(m, n): n = m", EVERY),
        ("H / n\nn = 'a.json'\nfrom other import n", EVERY),
    ],
)
def test_names_that_are_not_written_out(tmp_path: Path, code: str, names: set[str]) -> None:
    assert read(tmp_path, f"{HEAD}def f(x):\n    return 0\ny = {code}\n") == names


@pytest.mark.parametrize(
    "root",
    [
        "next(p for p in Path(__file__).resolve().parents if (p / 'edgepipe.toml').exists())",
        "list(Path(__file__).parents)[2]",
        "Path(*Path(__file__).parts[:-3])",
        "Path(os.path.split(os.path.split(os.path.split(__file__)[0])[0])[0])",
        "Path(os.path.abspath(__file__).split('plugins')[0])",
        "Path(D.partition('plugins')[0])",
        "Path(__file__[: __file__.index('plugins')])",
        "None\nfor ROOT in Path(__file__).parents: pass",
        "None\n_, _, ROOT, *_ = Path(__file__).parents",
    ],
)
def test_the_folder_of_the_project(tmp_path: Path, root: str) -> None:
    assert read(tmp_path, f"{HEAD}ROOT = {root}\nROOT / 'far.json'\n") >= FAR


@pytest.mark.parametrize(
    "code",
    [
        "Path(__file__).parents[0] / 'far.json'",
        "[line.split(',') for line in open(H / 'far.json')]",
        "Path(__file__).stem.split('_'), H / 'far.json'",
        "Path(__file__[:-3] + '_far.json')",
    ],
)
def test_no_folder_above_where_none_is_meant(tmp_path: Path, code: str) -> None:
    assert read(tmp_path, f"{HEAD}{code}\n") == set()


def test_all_of_a_package_whose_files_are_listed(tmp_path: Path) -> None:
    code = "from importlib import resources\nfor p in resources.files('x.data').iterdir():\n"
    text = f"{code}    if p.name.endswith('son'):\n        p.read_text()\n"
    assert read(tmp_path, text) >= DEEP


def test_folders_that_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "plugins" / "x").mkdir(parents=True)
    (tmp_path / "plugins" / "x" / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "back").symlink_to(tmp_path / "plugins" / "x")
    found = read(tmp_path, f"{HEAD}H / 'link' / 'far.json'\n")
    assert "plugins/x/link/far.json" in found


def test_links_out_of_the_project_are_not_followed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "plugins" / "x").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "far.json").write_text("")
    (project / "plugins" / "x" / "link").symlink_to(tmp_path / "out")
    assert read(project, f"{HEAD}H / 'link' / x\n") == set()


COMMENTS = [
    ("Path(__file__).read_text()", True),
    ("open(__file__)", True),
    ("show(__file__)\ndef show(path):\n    return open(path)", True),
    ("H / 'a.json'", False),
    ("Path(__file__).with_name('a.json').read_text()", False),
    ("(H / '_form.py').read_text()", True),
    ("[p.read_text() for p in H.glob('*.py')]", True),
    ("__import__('importlib').import_module('x._form'), H / '_form.py'", False),
    ("H / 'x' / 'a.json'", False),
]


@pytest.mark.parametrize(("code", "counts"), COMMENTS)
def test_comments_count_where_code_may_be_read_by_its_path(
    tmp_path: Path, code: str, counts: bool
) -> None:
    def codes(comment: str) -> dict[str, str]:
        form = tmp_path / "plugins" / "x" / "_form.py"
        form.parent.mkdir(parents=True, exist_ok=True)
        form.write_text(f"{comment}X = 1\n")
        read(tmp_path, f"{HEAD}{comment}y = {code}\n")
        plugins = tmp_path / "plugins"
        return dict(Fingerprints([plugins, tmp_path]).of(plugins / "x" / "s.py", plugins))

    assert (codes("") != codes("# more\n")) is counts


def test_what_lies_where_a_link_to_code_leads(tmp_path: Path) -> None:
    for folder in ("plugins", "shared"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shared" / "b.json").write_text("1")
    helper = "def read(name):\n    return (Path(__file__).resolve().parent / name).read_text()\n"
    (tmp_path / "shared" / "_h.py").write_text(f"from pathlib import Path\n{helper}")
    (tmp_path / "plugins" / "_h.py").symlink_to("../shared/_h.py")
    stage = tmp_path / "plugins" / "s.py"
    stage.write_text("import _h\n_h.read('b.json')\n")
    found = Fingerprints([tmp_path / "plugins", tmp_path]).reach(stage, tmp_path / "plugins")
    assert tmp_path / "shared" / "b.json" in found.data
