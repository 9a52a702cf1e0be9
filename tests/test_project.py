"""Where a project begins, its settings, its plug-ins and its cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe import runs
from edgepipe.errors import ConfigError
from edgepipe.kinds import Kinds
from edgepipe.project import find


@pytest.mark.parametrize("mark", ["edgepipe.toml", "pyproject.toml", ".git"])
def test_a_project_begins_at_the_nearest_mark_above(tmp_path: Path, mark: str) -> None:
    (tmp_path / "home" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "home" / mark).touch()
    for start in ("home", "home/deep/er", "home/deep/er/p.yaml"):
        assert find(tmp_path / start).root == tmp_path / "home"


def test_without_a_mark_the_folder_itself_is_the_project(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").touch()
    found = find(tmp_path / "p.yaml")
    # tmp_path may lie below somebody's project.
    assert tmp_path.is_relative_to(found.root)


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEPIPE_CACHE")
    for name in ("mine", "others"):
        (tmp_path / name).mkdir()
    (tmp_path / "edgepipe.toml").write_text('cache = "c"\nplugins = ["mine", "others", "absent"]\n')
    project = find(tmp_path)
    assert project.cache == tmp_path / "c"
    # One that is not there yet may come.
    assert project.plugins == tuple(tmp_path / name for name in ("mine", "others", "absent"))
    assert project.runs == tmp_path / ".edgepipe" / "runs"


def test_the_cache_of_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edgepipe.toml").write_text('cache = "c"\n')
    monkeypatch.setenv("EDGEPIPE_CACHE", "~/elsewhere")
    assert find(tmp_path).cache == Path.home() / "elsewhere"
    monkeypatch.delenv("EDGEPIPE_CACHE")
    (tmp_path / "edgepipe.toml").write_text("")
    assert find(tmp_path).cache == Path.home() / "xdg" / "edgepipe"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert find(tmp_path).cache == Path.home() / ".cache" / "edgepipe"
    monkeypatch.setenv("EDGEPIPE_CACHE", "~no-such-user/cache")
    with pytest.raises(ConfigError, match="names a home that is not known: ~no-such-user"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cache = ", "this is not TOML"),
        ('cahce = "x"', "unknown setting 'cahce'"),
        ("cache = 3", "'cache' must be a text"),
        ('plugins = "x"', "'plugins' must be a list of texts"),
        ("plugins = [3]", "'plugins' must be a list of texts"),
        ('plugins = ["../outside"]', "'../outside' is outside the project"),
        ('plugins = ["/etc"]', "'/etc' is outside the project"),
        ('plugins = ["link"]', "'link' is outside the project"),
    ],
)
def test_wrong_settings(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "edgepipe.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        find(tmp_path)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('cache = "x"\ncahce = "x"', "2:1"),
        ("\ncache = 3", "2:1"),
        ('# so\n  plugins = ["../outside"]', "2:3"),
        ('cache = "x"\ncache_size = "3 XB"', "2:1"),
        ('plugins = ["p"]\ncache = "a\n', "2:11"),
    ],
)
def test_a_wrong_setting_is_shown_where_it_stands(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "edgepipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        find(tmp_path)
    assert caught.value.render().startswith(f"{path}:{place}: error: ")


def test_settings_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "edgepipe.toml").write_bytes(b'cache = "\xff"')
    with pytest.raises(ConfigError, match="not TOML"):
        find(tmp_path)


STAGE = (
    "from edgepipe.stage import Context, Folder, Stage\n\n\nclass One(Stage):\n    '''One.'''\n\n"
    "    outputs = {'out': Folder}\n\n    def run(self, ctx: Context) -> None: ...\n"
)


def test_kinds_are_found_by_listing_files(tmp_path: Path) -> None:
    for name in ("a.py", "fam/b.py", "fam/_helper.py", "_fam/c.py", "_d.py", "deep/er/e.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('never imported')\n")
    mine = [name for name, kind in Kinds([tmp_path]).all.items() if kind.plugin]
    assert mine == ["a", "fam.b"]


def test_an_unknown_kind_where_the_folder_of_plugins_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError) as caught:
        Kinds((tmp_path / "mine", tmp_path / "stagse")).get("x.nothing")
    assert (
        f"there is no folder {tmp_path / 'stagse'} with your own" in caught.value.problems[0].hint
    )
    with pytest.raises(ConfigError) as caught:
        Kinds((tmp_path / "mine",)).get("x.nothing")
    assert "folder" not in caught.value.problems[0].hint


def test_a_kind_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits.py").write_text(STAGE)
    with pytest.raises(ConfigError) as caught:
        Kinds([tmp_path]).get("a")
    assert "the kind 'data.digits' is there twice" in caught.value.problems[0].message


def test_a_stage_may_have_helpers_beside_it(tmp_path: Path) -> None:
    text = STAGE + "\n\nclass _Base(Stage):\n    '''Hidden.'''\n"
    (tmp_path / "withbase.py").write_text(text)
    assert Kinds([tmp_path]).get("withbase").stage.__name__ == "One"


def test_ids_of_runs_sort_by_time_and_differ() -> None:
    ids = [runs.new_id("p") for _ in range(20)]
    moments = [name.rpartition("-p-")[0] for name in ids]
    assert moments == sorted(moments)
    assert len(set(ids)) == 20


def test_an_ambiguous_run(tmp_path: Path) -> None:
    for name in ("2026-a", "2026-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="several runs match '2026'"):
        runs.load(tmp_path, "2026")
