"""Cheap stages of random pipelines: each mixes its parameters and inputs into a number."""

from __future__ import annotations

from dataclasses import dataclass

MIXING = '''\
import os
import time
import zlib
from pathlib import Path

from _constants import START

from edgepipe.stage import Artifact


class Value(Artifact):
    """A number, in two files."""

    payload = "value"

    @classmethod
    def save(cls, path, value):
        (path / "value").write_text(str(value))
        (path / "deep").mkdir()
        (path / "deep" / "parity").write_text(str(value % 2))

    @classmethod
    def load(cls, path):
        return int((path / "value").read_text())


def mixed(*parts):
    return zlib.crc32("/".join(map(str, (START, *parts))).encode())


def texts(path):
    path = Path(path)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [t for p in files for t in (p.relative_to(path).as_posix(), p.read_text())]


def slowly(folder, given):
    """Adds up in steps, each of which a kill leaves done."""
    place = folder / "done"
    step, total = map(int, place.read_text().split()) if place.exists() else (0, 0)
    for step in range(step, 3):
        time.sleep(0.04)
        total += mixed(step, given)
        place.with_suffix(".tmp").write_text(f"{step + 1} {total}")
        place.with_suffix(".tmp").rename(place)
    return [total]


def trace(ctx, what):
    with open(os.environ["TRACE"], "a") as file:
        file.write(f"{what} {ctx.node}\\n")
'''
STAGE = '''\
from _constants import {NAME}
from _mixing import Value, mixed, slowly, texts, trace

from edgepipe.stage import Context, Stage, StageError, UserCode, UserPath, optional


class {Name}(Stage):
    """One of the random ones."""

    inputs = {inputs}
    outputs = {outputs}
    seeded = {seeded}

    salt: int = 0
{field}
    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        given = [ctx.input(port) for port in self.inputs]
        if {fails}:
            raise StageError("it is in a mood", "give it another salt")
        more = {more}
        for port in self.outputs:
            ctx.save(port, mixed({NAME}, self.salt, port, *given, *more) % {modulus})
        trace(ctx, "end")
'''


@dataclass(frozen=True)
class Kind:
    """A plug-in: its ports, and what it does beside mixing its salt with its inputs."""

    inputs: tuple[str, ...] = ()
    """A port that ends in ``?`` is optional."""
    outputs: tuple[str, ...] = ("out",)
    seeded: bool = False
    field: str = ""
    fails: str = "False"
    more: str = "[]"
    modulus: int = 1 << 32

    @property
    def ports(self) -> list[str]:
        return [port.rstrip("?") for port in self.inputs]


KINDS = {
    "source": Kind(field="    path: UserPath\n", more="texts(self.path)"),
    "drawn": Kind(seeded=True, more="[ctx.seed]"),
    # Few values, so that what runs again often gives what it gave before.
    "mix": Kind(("a", "b?"), modulus=3),
    "split": Kind(("a",), ("left", "right")),
    "slow": Kind(("a?",), more="slowly(ctx.scratch, given)"),
    "moody": Kind(("a",), fails="self.salt == 3"),
    "coded": Kind(("a?",), field="    code: UserCode\n", more="[ctx.user_object(self.code)()]"),
}


def stage_text(name: str, kind: Kind) -> str:
    inputs = [
        f"{port.rstrip('?')!r}: {'optional(Value)' if '?' in port else 'Value'}"
        for port in kind.inputs
    ]
    outputs = [f"{port!r}: Value" for port in kind.outputs]
    return STAGE.format(
        NAME=name.upper(),
        Name=name.title(),
        inputs=f"{{{', '.join(inputs)}}}",
        outputs=f"{{{', '.join(outputs)}}}",
        seeded=kind.seeded,
        field=kind.field,
        fails=kind.fails,
        more=kind.more,
        modulus=kind.modulus,
    )
