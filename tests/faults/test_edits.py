"""What is edited while a run goes on: code and data, before a node begins and while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from projects import Folder
from reading import HELPER, LATE, READER, pipeline, result, started


@pytest.mark.parametrize("edit", ["other", "put back", "code"])
def test_what_changes_while_a_stage_runs_is_of_neither_state(reader: Folder, edit: str) -> None:
    reader.write("plugins/reader.py", LATE)
    pipeline(reader, 1.0)
    process = reader.start("run", "p.yaml", "--json")
    started(reader)
    if edit == "code":
        reader.write("plugins/_double.py", HELPER.replace("2", "3"))
    else:
        reader.write("number.txt", "30")
    if edit == "put back":
        reader.write("number.txt", "10")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1
    what = "its code (_double.py:twice)" if edit == "code" else "path"
    assert f"the files of {what} changed while the node read them" in out
    # Nothing is kept under either key.
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
    pipeline(reader)
    assert result(reader) == {"other": "[60]", "put back": "[20]", "code": "[30]"}[edit]


def test_data_that_is_put_back_with_its_times_is_used_and_not_found_again(reader: Folder) -> None:
    reader.write("plugins/reader.py", LATE)
    pipeline(reader, 0.6)
    subprocess.run(["cp", "-p", "number.txt", "kept.txt"], cwd=reader.path, check=True)
    reader.write("other.txt", "30")
    process = reader.start("run", "p.yaml", "--json")
    started(reader)
    subprocess.run(["cp", "-p", "other.txt", "number.txt"], cwd=reader.path, check=True)
    time.sleep(0.9)
    subprocess.run(["cp", "-p", "kept.txt", "number.txt"], cwd=reader.path, check=True)
    err = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 0, err
    assert "number.txt changed while it ran" in err
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
    assert result(reader) == "[20]"


@pytest.mark.parametrize("how", ["link", "rights"])
def test_a_link_to_data_and_other_rights_cost_nothing(reader: Folder, how: str) -> None:
    pipeline(reader, 0.6)
    process = reader.start("run", "p.yaml", "--json")
    started(reader)
    if how == "link":
        os.link(reader.path / "number.txt", reader.path / "backup")
    else:
        (reader.path / "number.txt").chmod(0o600)
    err = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 0, err
    assert "changed while it ran" not in err
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


@pytest.mark.parametrize("back", [False, True])
def test_code_that_is_edited_after_a_stage_imported_it_does_not_matter(
    reader: Folder, back: bool
) -> None:
    pipeline(reader, 1.0)
    process = reader.start("run", "p.yaml")
    started(reader)
    reader.write("plugins/_double.py", HELPER.replace("2", "3"))
    if back:
        reader.write("plugins/_double.py", HELPER)
    process.communicate(timeout=30)
    assert process.returncode == 0
    if not back:
        assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
        reader.write("plugins/_double.py", HELPER)
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0
    assert result(reader) == "[20]"


def test_code_that_is_edited_and_that_a_stage_reads_as_text_is_of_neither_state(
    reader: Folder,
) -> None:
    text = READER.replace("import time\n", "import inspect\nimport time\n", 1)
    text = text.replace(
        "        time.sleep", "        inspect.getsource(twice)\n        time.sleep"
    )
    reader.write("plugins/reader.py", text)
    pipeline(reader, 1.0)
    process = reader.start("run", "p.yaml", "--json")
    started(reader)
    reader.write("plugins/_double.py", HELPER.replace("2", "3"))
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1
    assert "the files of its code (_double.py:" in out


CHAIN = """
edgepipe: 1
name: p
stages:
  first: {uses: reader, with: {path: number.txt, seconds: 1.0}}
  second: {uses: reader, with: {path: other.txt}, in: {after: first}}
"""


@pytest.fixture
def chain(reader: Folder) -> Folder:
    text = READER.replace(
        "    outputs =", '    inputs = {"after": optional(Numbers)}\n    outputs ='
    )
    reader.write("plugins/reader.py", text.replace("UserPath\n", "UserPath, optional\n", 1))
    reader.write("other.txt", "20")
    reader.write("p.yaml", CHAIN)
    return reader


@pytest.mark.parametrize("edit", ["put back", "comment", "another's", "touched data"])
def test_an_edit_that_changes_nothing_for_what_is_still_to_run_costs_nothing(
    chain: Folder, edit: str
) -> None:
    process = chain.start("run", "p.yaml", "--jobs", "1")
    started(chain)
    if edit == "put back":
        chain.write("plugins/_double.py", HELPER.replace("2", "3"))
        chain.write("plugins/_double.py", HELPER)
    elif edit == "comment":
        chain.write("plugins/_double.py", f"# A comment.\n{HELPER}")
    elif edit == "another's":
        chain.write(
            "plugins/_double.py", f"{HELPER}\n\ndef thrice(number):\n    return 3 * number\n"
        )
    else:
        (chain.path / "other.txt").touch()
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    assert "will run again" not in out
    # A process that may have imported what was there in between is not used again.
    assert len({event["pid"] for event in chain.events()}) == (1 if edit == "touched data" else 2)
    assert chain.edgepipe("plan", "p.yaml", "--check").code == 0


def test_an_edit_put_back_is_not_what_a_later_node_runs(chain: Folder) -> None:
    """The process of the first node would know the second what it imported meanwhile."""
    text = LATE.replace("    outputs =", '    inputs = {"after": optional(Numbers)}\n    outputs =')
    chain.write("plugins/reader.py", text.replace("UserPath\n", "UserPath, optional\n", 1))
    process = chain.start("run", "p.yaml", "--jobs", "1")
    started(chain)
    chain.write("plugins/_double.py", HELPER.replace("2", "3"))
    # The first imports it after one second, and ends after two.
    time.sleep(1.5)
    chain.write("plugins/_double.py", HELPER)
    process.communicate(timeout=30)
    assert chain.edgepipe("run", "p.yaml").code == 0
    assert chain.edgepipe("export", "second", "out").code == 0
    assert (chain.path / "out" / "numbers.json").read_text() == "[40]"


@pytest.mark.parametrize("edit", ["code", "data"])
def test_what_is_not_as_it_was_planned_is_not_begun(chain: Folder, edit: str) -> None:
    process = chain.start("run", "p.yaml", "--json")
    started(chain)
    if edit == "code":
        chain.write("plugins/_double.py", HELPER.replace("2", "3"))
    else:
        chain.write("other.txt", "30")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1
    what = "its code (_double.py:twice)" if edit == "code" else "path"
    assert f"{what} changed since the run began" in out
    logs = {node["name"]: node["log"] for node in json.loads(out)["nodes"]}
    assert logs == {"first": "logs/first.log", "second": ""}
    assert chain.trace() == ["first"]
    assert chain.trace("end") == ["first"]
    assert chain.edgepipe("run", "p.yaml").code == 0


def test_a_comment_written_while_a_stage_runs_does_not_matter(reader: Folder) -> None:
    pipeline(reader, 1.0)
    process = reader.start("run", "p.yaml")
    started(reader)
    reader.write("plugins/_double.py", f"# A comment.\n{HELPER}")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


def test_what_changed_while_a_stage_ran_is_not_tried_again_in_vain(reader: Folder) -> None:
    reader.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        "  r: {uses: reader, retries: 2, with: {path: number.txt, seconds: 0.7}}\n",
    )
    process = reader.start("run", "p.yaml")
    started(reader)
    reader.write("number.txt", "30")
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert reader.trace() == ["r"]
    assert result(reader) == "[60]"


def test_code_that_was_edited_and_put_back_before_a_stage_imports_it_gives_nothing_that_is_kept(
    reader: Folder,
) -> None:
    reader.write("plugins/reader.py", LATE)
    pipeline(reader, 1.0)
    process = reader.start("run", "p.yaml", "--json")
    started(reader)
    reader.write("plugins/_double.py", HELPER.replace("2", "3"))
    reader.write("plugins/_double.py", HELPER)
    reader.write("plugins/double.py", (reader.path / "plugins/double.py").read_text())
    err = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 0
    assert "plugins/_double.py changed while it ran" in err
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
    assert result(reader) == "[20]"
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


SOON = READER.replace("from _double import twice\n", "").replace(
    "        ctx.save",
    "        time.sleep(0.2)\n        from _double import twice\n\n        ctx.save",
)


@pytest.mark.parametrize("edit", ["code", "comment"])
def test_code_that_is_edited_after_a_stage_imported_it_late_does_not_matter(
    reader: Folder, edit: str
) -> None:
    reader.write("plugins/reader.py", SOON)
    pipeline(reader, 2.5)
    process = reader.start("run", "p.yaml")
    started(reader)
    time.sleep(1.8)
    reader.write(
        "plugins/_double.py",
        {"code": HELPER.replace("2", "3"), "comment": f"# {HELPER}\n{HELPER}"}[edit],
    )
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    assert "will run again" not in out
    reader.write("plugins/_double.py", HELPER)
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


def test_a_module_that_comes_while_a_run_goes_on_is_noticed(chain: Folder) -> None:
    text = (chain.path / "plugins/reader.py").read_text()
    tried = (
        "try:\n    from _fast import twice\nexcept ImportError:\n    from _double import twice\n"
    )
    chain.write("plugins/reader.py", text.replace("from _double import twice\n", tried))
    process = chain.start("run", "p.yaml", "--json")
    started(chain)
    chain.write("plugins/_fast.py", HELPER.replace("2", "3"))
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1
    assert "its code (_fast.py:" in out
    assert chain.trace() == ["first"]


def test_user_code_that_is_away_when_a_node_ends_does_not_matter(project: Folder) -> None:
    text = READER.replace("UserPath\n", "UserCode, UserPath\n", 1).replace(
        "    path: UserPath\n", "    path: UserPath\n    code: UserCode\n"
    )
    text = text.replace("twice(int", "ctx.user_object(self.code)(int")
    project.write("plugins/reader.py", text.replace("from _double import twice\n", ""))
    project.write("own.py", HELPER)
    project.write("n", "10")
    node = "{uses: reader, with: {path: n, code: 'own.py:twice', seconds: 1.5}}"
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n  r: {node}\n")
    process = project.start("run", "p.yaml")
    started(project)
    time.sleep(0.7)
    (project.path / "own.py").rename(project.path / "elsewhere")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    (project.path / "elsewhere").rename(project.path / "own.py")
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0


@pytest.mark.parametrize("name", [".n.txt.swp", ".#n.txt", "n.txt~", ".DS_Store"])
def test_what_editors_leave_in_a_folder_of_data_is_no_data(reader: Folder, name: str) -> None:
    text = (
        (reader.path / "plugins/reader.py")
        .read_text()
        .replace("self.path)", 'self.path) / "n.txt"')
    )
    reader.write(
        "plugins/reader.py",
        text.replace('Path(self.path) / "n.txt".read', '(Path(self.path) / "n.txt").read'),
    )
    reader.write("data/n.txt", "10")
    node = "{uses: reader, with: {path: data, seconds: 1.0}}"
    reader.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n  r: {node}\n")
    process = reader.start("run", "p.yaml")
    started(reader)
    (reader.path / "data" / name).symlink_to("nowhere")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


def test_what_was_imported_stays_beyond_doubt_where_other_code_is_doubtful(reader: Folder) -> None:
    late = "        time.sleep(1.0)\n        import _other  # noqa: F401\n\n        ctx.save"
    reader.write("plugins/reader.py", READER.replace("        ctx.save", late))
    reader.write("plugins/_other.py", "")
    process = reader.start("run", "p.yaml")
    started(reader)
    reader.write("plugins/_double.py", HELPER.replace("2", "3"))
    reader.write("plugins/_other.py", "# nothing\n")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    assert "plugins/_other.py changed while it ran" in out
