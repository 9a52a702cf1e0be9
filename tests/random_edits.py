"""What may befall a random pipeline: edits of all that its results depend on, and do not."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from random import Random

from random_pipelines import LARGEST, Entry, Pipeline, random_entry, random_ref
from random_stages import KINDS

Edit = Callable[[Pipeline, Random, Path], None]
"""Changes the pipeline, or its files in a folder."""


def edit(pipeline: Pipeline, rng: Random, root: Path, which: str) -> Pipeline:
    """The pipeline after an edit; as it was, where that would make it too large."""
    after = deepcopy(pipeline)
    EDITS[which](after, rng, root)
    if len(after.points()) > LARGEST:
        after = pipeline
    after.write(root)
    return after


def _parameter(pipeline: Pipeline, rng: Random, root: Path) -> None:
    entry = rng.choice(list(pipeline.entries.values()))
    if entry.values:
        entry.values = rng.sample(range(5), rng.choice([1, 2, 3]))
    else:
        entry.salt = rng.choice([*range(4), *pipeline.variables])


def _variable(pipeline: Pipeline, rng: Random, root: Path) -> None:
    pipeline.variables[rng.choice(list(pipeline.variables))] = rng.randrange(4)


def _seed(pipeline: Pipeline, rng: Random, root: Path) -> None:
    seeded = [entry for entry in pipeline.entries.values() if entry.kind == "drawn"]
    rng.choice(seeded or list(pipeline.entries.values())).seed = rng.choice([None, 1, 2])


def _constant(pipeline: Pipeline, rng: Random, root: Path) -> None:
    used = [entry.kind.upper() for entry in pipeline.entries.values()]
    pipeline.constants[rng.choice(["START", *used])] = rng.randrange(3)


def _code(pipeline: Pipeline, rng: Random, root: Path) -> None:
    pipeline.calc = rng.randrange(3)


def _comment(pipeline: Pipeline, rng: Random, root: Path) -> None:
    names = [name for name in pipeline.written if not name.startswith("data/")]
    pipeline.comments[rng.choice(names)] = rng.randrange(1000)


def _byte(pipeline: Pipeline, rng: Random, root: Path) -> None:
    """Another byte of data, with the time of writing put back."""
    used = [entry.data for entry in pipeline.entries.values() if entry.kind == "source"]
    name = rng.choice(used or list(pipeline.data))
    file = rng.choice(list(pipeline.data[name]))
    text = str(rng.randrange(10))
    path = root / "data" / name / file
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    pipeline.data[name][file] = text
    pipeline.written[path.relative_to(root).as_posix()] = text


def _file(pipeline: Pipeline, rng: Random, root: Path) -> None:
    """A file comes into a folder of data, or goes."""
    files, name = pipeline.data["many"], f"in/{rng.randrange(3)}"
    if files.pop(name, None) is None:
        files[name] = str(rng.randrange(3))


def _rename(pipeline: Pipeline, rng: Random, root: Path) -> None:
    old, new = rng.choice(list(pipeline.entries)), f"m{rng.randrange(100)}"
    if new not in pipeline.entries:
        pipeline.entries = {new if n == old else n: e for n, e in pipeline.entries.items()}
        for entry in pipeline.entries.values():
            for ref in entry.inputs.values():
                ref.entry = new if ref.entry == old else ref.entry


def _reorder(pipeline: Pipeline, rng: Random, root: Path) -> None:
    entries = list(pipeline.entries.items())
    rng.shuffle(entries)
    pipeline.entries = dict(entries)
    for entry in pipeline.entries.values():
        inputs = list(entry.inputs.items())
        rng.shuffle(inputs)
        entry.inputs = dict(inputs)


def _before(pipeline: Pipeline, name: str) -> list[str]:
    """Entries that may be read without making a cycle."""
    order = pipeline.in_order()
    return order[: order.index(name)]


def _number(pipeline: Pipeline, rng: Random) -> int:
    """For a new entry and its axis."""
    used = {entry.axis for entry in pipeline.entries.values()} | pipeline.entries.keys()
    return rng.choice([n for n in range(100) if not used & {f"x{n}", f"n{n}"}])


def _add(pipeline: Pipeline, rng: Random, root: Path) -> None:
    number = _number(pipeline, rng)
    entry = random_entry(pipeline, rng, list(pipeline.entries), number)
    pipeline.entries[f"n{number}"] = entry


def _twin(pipeline: Pipeline, rng: Random, root: Path) -> None:
    """A node that is as another one."""
    entry = deepcopy(rng.choice(list(pipeline.entries.values())))
    number = _number(pipeline, rng)
    entry.axis = f"x{number}"
    pipeline.entries[f"n{number}"] = entry


def _remove(pipeline: Pipeline, rng: Random, root: Path) -> None:
    gone = rng.choice(list(pipeline.entries))
    users = [e for e in pipeline.entries.values() if any(_reads(e, gone))]
    if len(pipeline.entries) > 1 and not any(
        p in KINDS[e.kind].inputs for e in users for p in _reads(e, gone)
    ):
        del pipeline.entries[gone]
        for entry in users:
            for port in _reads(entry, gone):
                del entry.inputs[port]


def _reads(entry: Entry, name: str) -> list[str]:
    return [port for port, ref in entry.inputs.items() if ref.entry == name]


def _rewire(pipeline: Pipeline, rng: Random, root: Path) -> None:
    name = rng.choice(list(pipeline.entries))
    before = _before(pipeline, name)
    ports = KINDS[pipeline.entries[name].kind].inputs
    if before and ports:
        port = rng.choice(ports)
        inputs = pipeline.entries[name].inputs
        if port.rstrip("?") in inputs and port[-1] == "?":
            del inputs[port.rstrip("?")]
        else:
            inputs[port.rstrip("?")] = random_ref(pipeline, rng, before)


def _matrix(pipeline: Pipeline, rng: Random, root: Path) -> None:
    entry = rng.choice(list(pipeline.entries.values()))
    entry.values = [] if entry.values else rng.sample(range(5), 2)


def _include(pipeline: Pipeline, rng: Random, root: Path) -> None:
    entry = rng.choice(list(pipeline.entries.values()))
    entry.included = not entry.included


def _touch(pipeline: Pipeline, rng: Random, root: Path) -> None:
    moment = rng.randrange(1, 10**9)
    os.utime(root / rng.choice(list(pipeline.written)), (moment, moment))


def _rewrite(pipeline: Pipeline, rng: Random, root: Path) -> None:
    """The same bytes in a new file, of the same size and time."""
    path = root / rng.choice(list(pipeline.written))
    before, new = path.stat(), path.with_name("new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


EDITS: dict[str, Edit] = {
    "parameter": _parameter,
    "variable": _variable,
    "seed": _seed,
    "constant": _constant,
    "code": _code,
    "comment": _comment,
    "byte": _byte,
    "file": _file,
    "rename": _rename,
    "reorder": _reorder,
    "add": _add,
    "twin": _twin,
    "remove": _remove,
    "rewire": _rewire,
    "matrix": _matrix,
    "include": _include,
    "touch": _touch,
    "rewrite": _rewrite,
}
