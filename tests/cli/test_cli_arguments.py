"""Help, and mistakes on the command line."""

from __future__ import annotations

import pytest
from projects import Folder

from edgepipe import __version__
from edgepipe.cli import VERBS, main


def test_help_names_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["-h"], ["help"], []):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert all(f"\n  {verb} " in text for verb in VERBS)
        assert all(f"{code} " in text for code in (0, 1, 2, 3, 4, 130))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: edgepipe {verb}")
    assert "--debug" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "-V"):
        assert main([flag]) == 0
        assert capsys.readouterr().out == f"edgepipe {__version__}\n"


def test_an_unknown_verb_is_answered_with_the_nearest(project: Folder) -> None:
    done = project.edgepipe("vaildate", "x.yaml")
    assert done.code == 2
    assert done.err.startswith(
        "error: there is no verb 'vaildate'\n  did you mean 'validate'? verbs: cache,"
    )


def test_wrong_arguments_exit_with_2(mini: Folder) -> None:
    assert mini.edgepipe("run").code == 2
    assert mini.edgepipe("plan", "mini.yaml", "--nonsense").code == 2
    done = mini.edgepipe("run", "mini.yaml", "--jobs", "0")
    assert (done.code, done.err) == (2, "error: --jobs must be at least 1\n")


def test_a_pipeline_that_is_not_there(mini: Folder) -> None:
    done = mini.edgepipe("validate", "mimi.yaml")
    assert done.code == 2
    assert done.err == (
        "error: mimi.yaml cannot be read: no such file or directory\n"
        "  did you mean 'mini.yaml'? YAML files in .: mini.yaml\n"
    )


def test_debug_shows_where_an_error_was_raised(mini: Folder) -> None:
    assert "Traceback" not in mini.edgepipe("plan", "nowhere.yaml").err
    assert "Traceback" in mini.edgepipe("plan", "nowhere.yaml", "--debug").err
