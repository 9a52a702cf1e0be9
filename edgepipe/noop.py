"""Answers a command that has nothing to do, without compiling the pipeline.

The contract: `answer` gives what a command would print and its exit code, if the same command
found everything cached before and nothing that it read has changed since; else None, and the
command goes its usual way. A doubt is a change. What it read are two things:

- ``files`` and folders, with the stat of each: any write touches it;
- ``folders`` in which a new name could be found instead of a known one, with their names.

What a killed process left in ``staging`` is for the usual way to clear.

What was asked is kept as a digest, since variables may hold secrets.

Starting Python takes 10 ms, so this module imports nothing that Python has not loaded by itself.
"""

import marshal
import os
import sys
from _imp import source_hash

_VERSION = 5
_VARIABLES = {"COLUMNS", "HOME", "LANG", "LC_ALL", "NO_COLOR", "TERM", "XDG_CACHE_HOME"}
"""Variables that decide what a command reads or how it looks, beside all of ours."""
_IGNORED = {"__pycache__", ".edgepipe"}
"""Names that come with a run."""


def answer(question: str) -> tuple[int, str] | None:
    """Exit code and output of a command, if nothing has changed since it was remembered."""
    try:
        with open(_place(question), "rb") as file:  # noqa: PTH123  pathlib takes 3 ms
            checksum, body = file.read(8), file.read()
        if source_hash(_VERSION, body) != checksum:
            return None
        known, code, text, files, folders, staging = marshal.loads(body)  # noqa: S302  checked
        if known != _digest(question):
            return None
        if any(stat_of(path) != state for path, state in files.items()):
            return None
        if any(names_in(path) != names for path, names in folders.items()):
            return None
        if _has_litter(staging):
            return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return code, text


def remember(
    question: str,
    code: int,
    text: str,
    *,
    files: set[str],
    folders: dict[str, list[str]],
    objects: set[str],
    staging: str,
    since_ns: int,
) -> bool:
    """Keep a command's answer for the next time.

    Args:
        question: see `question_of`; taken when the command began.
        code: its exit code.
        text: what it prints.
        files: the user's files and folders that it read; they may be missing.
        folders: in which it looked for names, with those that were there.
        objects: files of the cache and of the project's runs; the command wrote them itself.
        staging: the cache's folder of what is not finished, in which each process has its own.
        since_ns: when the command began, in nanoseconds since the epoch.

    Returns:
        whether it was kept: not where an object is gone, or a file was written since the command
        began, or so shortly before that a later write could bear the same time.
    """
    from edgepipe.replacing import clear, replace

    place = _place(question)
    folder = os.path.dirname(place)  # noqa: PTH120
    clear(folder)
    states = {path: stat_of(path) for path in sorted(files)}
    # The time of the last change is the kernel's; that of writing is anybody's.
    if any(state[3] > since_ns - 50_000_000 for state in states.values() if state):
        return False
    made = {path: stat_of(path) for path in sorted(objects)}
    if not all(made.values()):
        return False
    states |= made
    body = marshal.dumps((_digest(question), code, text, states, folders, staging))
    try:
        # A cache that the environment names and this project does not use is not begun here.
        if os.path.isdir(os.path.dirname(folder)):  # noqa: PTH112, PTH120
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        replace(place, source_hash(_VERSION, body) + body)
    except OSError:
        return False
    return True


def stat_of(path: str) -> tuple[int, int, int, int] | None:
    """What any change of a file or folder touches; None for what is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


def names_in(path: str) -> list[str]:
    """The names in a folder, less those that come with a run; none where there is no folder."""
    try:
        names = os.listdir(path)  # noqa: PTH208
    except OSError:
        return []
    return sorted(name for name in names if name not in _IGNORED)


def _has_litter(staging: str) -> bool:
    """Whether a dead process left something there."""
    if not (names := names_in(staging)):
        return False
    from edgepipe.holding import held, is_process_folder

    return not all(held(f"{staging}/{name}") for name in names if is_process_folder(name))


def question_of(arguments: list[str]) -> str:
    """All that decides a command's answer beside files. Taken before anything else is done."""
    variables = [
        (name, value)
        for name, value in sorted(os.environ.items())
        if name in _VARIABLES or name.startswith("EDGEPIPE_")
    ]
    try:
        size = list(os.get_terminal_size(1))
    except OSError:
        size = []
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    where = [os.getcwd(), sys.version, sys.path, _encoding(), _boot()]  # noqa: PTH109
    return repr([_VERSION, arguments, variables, size, processors, where])


def _encoding() -> str:
    """What the output can show; there is none where it was closed."""
    return "" if sys.stdout is None else sys.stdout.encoding


def _boot() -> str:
    """Changes when the machine does, or is started again."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


def _digest(question: str) -> bytes:
    """Tells apart the questions of one file; cheaper than to import what digests better."""
    return source_hash(_VERSION + 1000, question.encode())


def _place(question: str) -> str:
    """The file of a question, in the cache that the environment names."""
    home = os.environ.get("HOME", "")
    base = os.environ.get("EDGEPIPE_CACHE") or (
        f"{os.environ.get('XDG_CACHE_HOME') or home + '/.cache'}/edgepipe"
    )
    return f"{base}/noop/{source_hash(_VERSION, question.encode()).hex()}"
