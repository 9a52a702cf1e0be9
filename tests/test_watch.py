"""What a running stage finds out about the files that its key knows."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgepipe.watch import Watch, names_in, names_stamp, stamp_of, state_of, tree_stamp, walk


def data_of(path: Path) -> dict[str, object]:
    return {
        "data": {"with.path": [str(path), tree_stamp((n, i) for n, _, i in walk(str(path), set()))]}
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    (inner / "a").write_text("1")
    return tmp_path / "data"


def test_data_is_edited_when_it_is_written_comes_or_goes(folder: Path) -> None:
    watch = Watch(data_of(folder))
    assert watch.edited() == []
    (folder / "b").write_text("")
    assert watch.edited() == ["with.path"]
    (folder / "b").unlink()
    assert watch.edited() == []
    (folder / "inner" / "a").write_text("1")
    assert watch.edited() == ["with.path"]


def test_data_that_is_gone_is_edited(folder: Path) -> None:
    watch = Watch(data_of(folder / "inner" / "a"))
    (folder / "inner" / "a").unlink()
    assert watch.edited() == ["with.path"]


def test_links_and_rights_are_no_edits(folder: Path) -> None:
    path = folder / "inner" / "a"
    watch = Watch({**data_of(folder), "files": {str(path): stamp_of(str(path))}})
    os.link(path, folder.parent / "twin")
    path.chmod(0o600)
    assert watch.data() == ([], [])
    assert watch.written() == []


def test_a_time_of_writing_that_was_put_back_is_doubtful(folder: Path) -> None:
    path = folder / "inner" / "a"
    watch = Watch({**data_of(folder), "files": {str(path): stamp_of(str(path))}})
    before = path.stat()
    path.write_text("2")
    path.write_text("1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watch.data() == ([], ["with.path"])
    assert watch.written() == [str(path)]


def test_a_file_that_may_be_read_is_doubtful_once_it_is_written(folder: Path) -> None:
    path = str(folder / "inner" / "a")
    watch = Watch({"files": {path: stamp_of(path), "/nowhere/to/be/found": None}})
    assert watch.vouch() == []
    Path(path).write_text("1")
    assert watch.vouch() == watch.written() == [path]


def test_a_name_that_comes_is_told_apart(folder: Path) -> None:
    watch = Watch({"folders": {str(folder): names_stamp(names_in(str(folder)))}})
    (folder / "__pycache__").mkdir()
    (folder / "x.pyc").write_text("")
    assert watch.relisted() == []
    (folder / "x.json").write_text("")
    assert watch.relisted() == [str(folder)]
    assert watch.vouch() == []


def test_only_an_empty_file_is_taken_for_that_by_which_vim_probes_a_folder(folder: Path) -> None:
    def names() -> list[str]:
        return [name for name, *_ in walk(str(folder), set())]

    watch, probe = Watch(data_of(folder)), folder / "4913"
    probe.write_text("")
    assert (names(), names_in(str(folder)), watch.edited()) == (["inner/a"], {"inner"}, [])
    probe.write_text("1")
    assert (names(), names_in(str(folder))) == (["4913", "inner/a"], {"4913", "inner"})
    probe.unlink()
    probe.mkdir()
    (probe / "b").write_text("1")
    assert sorted(names()) == ["4913/b", "inner/a"]
    assert names_in(str(folder)) == {"4913", "inner"}
    assert watch.edited() == ["with.path"]


def test_a_module_that_was_loaded_while_its_file_was_as_it_was_is_beyond_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = tmp_path / "early_one.py", tmp_path / "late_one.py"
    early.write_text("VALUE = 1")
    late.write_text("VALUE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    watch = Watch({"code": {str(path): state_of(str(path)) for path in (early, late)}})
    importlib.import_module("early_one")
    assert watch.vouch() == []
    importlib.import_module("late_one")
    early.write_text("VALUE = 2")
    late.write_text("VALUE = 2")
    assert watch.written() == watch.vouch() == [str(late)]
    for name in ("early_one", "late_one"):
        del sys.modules[name]


def test_a_module_that_is_imported_again_from_an_edited_file_is_doubted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "twice_there.py"
    path.write_text("VALUE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    watch = Watch({"code": {str(path): state_of(str(path))}})
    importlib.import_module("twice_there")
    assert watch.vouch() == []
    assert watch.settled
    path.write_text("VALUE = 2")
    assert watch.vouch() == []
    del sys.modules["twice_there"]
    assert watch.vouch() == []
    importlib.import_module("twice_there")
    assert watch.vouch() == [str(path)]
    del sys.modules["twice_there"]


class Lazy(ModuleType):
    """Loads, and fails to, when it is asked for anything."""

    def __getattribute__(self, name: str) -> Any:
        raise ImportError(name)


def test_lazy_modules_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lazy_one", Lazy("lazy_one"))
    path = str(tmp_path / "x.py")
    assert Watch({"code": {path: None}}).vouch() == []


def test_code_whose_time_of_writing_was_put_back_is_written(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("1")
    watch = Watch({"code": {str(path): state_of(str(path))}})
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watch.vouch() == [str(path)]


def test_a_module_that_may_be_read_again_is_never_beyond_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "read_again.py"
    path.write_text("VALUE = 1")
    monkeypatch.syspath_prepend(tmp_path)
    watch = Watch({"code": {str(path): state_of(str(path))}, "rereads": True})
    importlib.import_module("read_again")
    assert watch.vouch() == []
    path.write_text("VALUE = 2")
    assert watch.vouch() == [str(path)]
    del sys.modules["read_again"]


def test_what_nobody_watches_is_beyond_doubt() -> None:
    assert Watch({}).edited() == []
    assert Watch({}).vouch() == []


def test_a_module_that_takes_the_place_of_another_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "code.py"
    code.write_text("1")
    watch = Watch({"code": {str(code): state_of(str(code))}})
    one, other = ModuleType("place"), ModuleType("place")
    other.__file__ = str(code)
    monkeypatch.setitem(sys.modules, "place", one)
    watch.vouch()
    assert watch.vouched == []
    sys.modules["place"] = other
    watch.vouch()
    assert watch.vouched == [str(code)]
