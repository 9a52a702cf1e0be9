"""Help, and mistakes on the command line."""

from __future__ import annotations

import json

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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan --sett a.b=1 x.yaml", "edgepipe plan has no option '--sett'|did you mean '--set'?"),
        ("cache gc --max-sise=3", "edgepipe cache gc has no option '--max-sise'|did you mean '--m"),
        ("cache lss", "edgepipe cache has no action 'lss'|did you mean 'ls'? actions: du, export"),
        (
            "stages --format markdwn",
            "--format cannot be 'markdwn'|did you mean 'markdown'? choices",
        ),
        ("runs show a b", "'b' is one argument too many|edgepipe runs show --help says what it ta"),
        ("run", "the following arguments are required: pipeline|edgepipe run --help says what it "),
    ],
)
def test_a_mistyped_argument_is_answered_with_the_nearest(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message, hint = said.split("|")
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}\n  {hint}")
    assert main([*arguments.split(), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["errors"][0]["message"] == message


def test_wrong_arguments_exit_with_2(mini: Folder) -> None:
    assert mini.edgepipe("run").code == 2
    assert mini.edgepipe("plan", "mini.yaml", "--nonsense").code == 2
    done = mini.edgepipe("run", "mini.yaml", "--jobs", "0")
    assert (done.code, done.err) == (2, "error: --jobs must be at least 1\n")
    done = mini.edgepipe("cache", "gc", "--keep-runs", "many")
    said = "error: argument --keep-runs: 'many' is no whole number\n"
    assert (done.code, done.err) == (2, f"{said}  edgepipe cache gc --help says what it takes\n")


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


@pytest.mark.parametrize("arguments", ["run x.yaml", "cache du", "cache pull", "export a b"])
def test_an_empty_cache_is_not_the_current_folder(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments.split(), "--cache", ""]) == 2
    assert capsys.readouterr().err == (
        "error: --cache names no folder\n"
        "  name a folder, or leave --cache out: it is then $EDGEPIPE_CACHE\n"
    )
