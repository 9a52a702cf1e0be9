"""The command line: a row of verbs, each in a file of its own that is imported when it is used."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
"""As in typing, which takes milliseconds to import."""
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

VERBS = {
    "run": "run a pipeline; what is cached is not run again",
    "plan": "what a run would do, node by node, and why",
    "why": "why one node runs, or is cached: all that its key is made of",
    "validate": "check pipelines without running them",
    "graph": "a pipeline's graph as text, mermaid or dot",
    "stages": "all kinds of stages; one kind's parameters, ports and an example",
    "schema": "the JSON schema of pipelines, for editors",
    "show": "a run's results as tables or JSON",
    "export": "copy a node's output into a folder",
    "cache": "what the cache holds: ls, du, gc, verify, export, import, pin, unpin, push, pull",
    "runs": "the project's runs: ls, show, diff, rm",
    "init": "start a project in a folder",
    "env": "lock, build, list and remove the environments that stages run in",
    "doctor": "what is installed, what is missing, how to get it",
}

_BROKEN_PIPE = 141
"""128 + SIGPIPE; to import signal takes milliseconds."""

EXIT_CODES = """\
exit codes: 0 done, 1 a stage or an action failed, 2 the configuration is wrong, 3 a gate failed,
4 plan --check found work to do, 5 cache verify found damage, 130 interrupted"""


def usage() -> str:
    """What ``edgepipe --help`` says."""
    verbs = "\n".join(f"  {name:<10}{text}" for name, text in VERBS.items())
    return (
        "usage: edgepipe VERB [...]\n\n"
        "Declarative pipelines that train, compress, convert, check and measure neural networks"
        f"\nfor small devices.\n\n{verbs}\n\n"
        "  edgepipe VERB --help   a verb's arguments\n"
        "  edgepipe --version\n\n"
        f"{EXIT_CODES}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    try:
        code = _main(sys.argv[1:] if arguments is None else list(arguments))
        # At the end of the process nobody could answer for a reader that has gone.
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        # ^C while modules are imported, or while a verb's errors are told.
        return 130
    except OSError as error:
        # Where the reader has enough (| head), end quietly, as other tools do.
        broken = isinstance(error, BrokenPipeError)
        if not broken:
            print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE if broken else 1


def leave(code: int) -> NoReturn:
    """End the process with an exit code; what is registered for its end is done.

    Python would also take apart all that was made, which takes as long as many a run.
    """
    threading = sys.modules.get("threading")
    if threading is None or all(
        thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()
    ):
        import atexit

        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                # It was said already, or there is nobody to say it to.
                code = code or 1
        os._exit(code)
    sys.exit(code)


def _main(arguments: list[str]) -> int:
    if sys.stdout is None:
        # Its file was closed by who started the command: what is printed is for nobody.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  pathlib takes 3 ms
    verb = arguments[0] if arguments else "--help"
    if verb in {"-h", "--help", "help"}:
        print(usage())
        return 0
    if verb in {"-V", "--version"}:
        from edgepipe import __version__

        print(f"edgepipe {__version__}")
        return 0
    question = ""
    if verb == "run":
        from edgepipe.noop import answer, question_of

        question = question_of(arguments)
        known = answer(question)
        if known is not None:
            code, text = known
            sys.stdout.write(text)
            return code
    from edgepipe.cli._common import guarded

    return guarded(verb, arguments[1:], question)


def load(verb: str) -> object:
    """The module of a verb."""
    import importlib

    return importlib.import_module(f"edgepipe.cli.{verb}")
