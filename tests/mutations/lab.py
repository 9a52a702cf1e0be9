"""A place to change things in: a copy of the stages, a project that uses all of them, records.

Nothing is run: what every node would have made is published as a few bytes of its own, so that
a plan finds each node cached. Then something is changed, and a plan says what would run.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import edgepipe_stages
from edgepipe import key, kinds, manifests
from edgepipe.cli._common import compile_pipeline
from edgepipe.graph import Graph
from edgepipe.key import HERE, World
from edgepipe.planner import Decision, Planner
from edgepipe.store import Output, Record

SOURCE = Path(edgepipe_stages.__file__).parent

PIPELINE = """\
edgepipe: 1
name: lab
include: shared.yaml
seed: 7

stages:
  digits: {uses: data.digits, with: {image_size: "${side}"}}
  photos: {uses: data.image_folder, with: {path: photos, image_size: 16}}
  made: {uses: data.python, with: {function: "mydata.py:make"}}
  shifted: {uses: vision.shift, in: {data: made}}
  teacher:
    uses: train.classifier
    in: {data: digits}
    with: {model: {arch: resnet8}, epochs: 2}
  student:
    uses: distill.logits
    in: {teacher: teacher, data: digits}
    with: {model: {arch: mobilenet_v2}, temperature: 4.0}
  pruned: {uses: prune.structured, in: {model: student, data: digits}, with: {ratio: 0.3}}
  sparse: {uses: prune.magnitude, in: {model: student, data: digits}}
  own: {uses: model.python, in: {data: photos}, with: {code: "nets.py:Small"}}
  loaded:
    uses: model.checkpoint
    in: {data: made}
    with: {model: {arch: "python:nets.py:Other"}, weights: weights.safetensors}
  onnx: {uses: convert.onnx, in: {model: pruned}}
  int8: {uses: quantize.static, in: {model: onnx, data: digits}}
  dynamic: {uses: quantize.dynamic, in: {model: onnx}}
  saved: {uses: convert.savedmodel, in: {model: onnx}}
  tflite:
    uses: convert.tflite
    in: {model: saved, calibration: int8}
    matrix: {precision: [float32, int8]}
  parity: {uses: check.parity, in: {reference: pruned, model: onnx, data: digits}}
  bench_torch: {uses: benchmark.torch, in: {model: own, data: photos}}
  bench_onnx: {uses: benchmark.onnxruntime, in: {model: dynamic, data: digits}}
  bench_tflite: {uses: benchmark.tflite, in: {model: tflite, data: digits}}
"""

FILES = {
    "edgepipe.toml": "",
    "shared.yaml": "vars: {side: 16}\n",
    "mydata.py": (
        '"""Data."""\n\nimport numpy as np\n\nfrom helpers.draw import drawn\n\nCLASSES = 3\n\n\n'
        'def make(seed):\n    """Make it."""\n    return drawn(CLASSES), np.arange(CLASSES)\n\n\n'
        "def unused():\n    return 1\n"
    ),
    "helpers/draw.py": (
        "from . import shapes\nfrom .colors import *\n\n\n"
        "def drawn(count):\n    return [shapes.circle(i, RED) for i in range(count)]\n"
    ),
    "helpers/shapes.py": (
        "SIZE = 4\n\n\ndef circle(number, color, size=SIZE):\n    return [number, color, size]\n\n\n"
        "def square(number):\n    return number\n"
    ),
    "helpers/colors.py": "RED = 1\nBLUE = 2\n",
    "helpers/other.py": "NOTHING = 0\n",
    "nets.py": (
        "import torch\n\nfrom helpers import layers\n\n\n"
        "class Small(torch.nn.Module):\n    def forward(self, x):\n        return layers.flat(x)\n\n\n"
        "class Other(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
    ),
    "helpers/layers.py": (
        "def flat(x):\n    return x\n\n\nif __name__ == '__main__':\n    print(flat(1))\n"
    ),
    "weights.safetensors": "weights",
    "photos/cat/1.png": "cat one",
    "photos/cat/2.png": "cat two",
    "photos/dog/1.png": "dog one",
    "plugins/vision/shift.py": (
        '"""vision.shift: moves images."""\n\nfrom __future__ import annotations\n\n'
        "from typing import TYPE_CHECKING\n\nfrom _tables import table\n\n"
        "from edgepipe.stage import Context, Field, Stage\nfrom edgepipe_stages import ImageDataset\n\n"
        "if TYPE_CHECKING:\n    from _typing_only import Name\n\n\n"
        'class Shift(Stage):\n    """Moves images."""\n\n'
        "    inputs = {'data': ImageDataset}\n    outputs = {'data': ImageDataset}\n\n"
        "    by: int = Field(1, ge=0, le=9, description='pixels')\n\n"
        "    def run(self, ctx: Context) -> None:\n        table('left')\n"
    ),
    "plugins/vision/mirror.py": (
        '"""vision.mirror: mirrors images."""\n\nfrom edgepipe.stage import Context, Stage\n'
        "from edgepipe_stages import ImageDataset\n\n\n"
        'class Mirror(Stage):\n    """Mirrors images."""\n\n'
        "    inputs = {'data': ImageDataset}\n    outputs = {'data': ImageDataset}\n\n"
        "    def run(self, ctx: Context) -> None: ...\n"
    ),
    "plugins/_tables.py": (
        "import importlib\nimport json\nfrom pathlib import Path\n\n\n"
        "def table(name):\n    steps = json.loads(Path(__file__).with_name('_steps.json').read_text())\n"
        "    return importlib.import_module(f'_steps.{name}').move(steps)\n"
    ),
    "plugins/_steps.json": "[1, 2, 3]",
    "plugins/_other.json": "[]",
    "plugins/_steps/left.py": "def move(steps):\n    return steps\n",
    "plugins/_typing_only.py": "Name = str\n",
}

AGO = time.time() - 3600


@dataclass
class Lab:
    """The copy, the project and what is done to them."""

    root: Path
    kept: dict[Path, bytes | None] = field(default_factory=dict)
    world: World = HERE
    project: Path = field(init=False)
    stages: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.root / "project"
        self.stages = self.root / "site" / "edgepipe_stages"
        shutil.copytree(SOURCE, self.stages, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in {**FILES, "lab.yaml": PIPELINE}.items():
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_text(text)

    def path(self, name: str) -> Path:
        """A file: of the copy of the stages if it begins with ``@``, else of the project."""
        return self.stages / name[1:] if name.startswith("@") else self.project / name

    def write(self, name: str, body: bytes | str | None) -> None:
        """Write or remove a file; `restored` puts it back."""
        path = self.path(name)
        self.kept.setdefault(path, path.read_bytes() if path.exists() else None)
        if body is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body.encode() if isinstance(body, str) else body)

    def text(self, name: str) -> str:
        return self.path(name).read_text()

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file's text; that it changes is made sure of."""
        before = self.text(name)
        after = change(before)
        assert after != before, f"{name}: nothing was changed"
        self.write(name, after)

    @contextmanager
    def restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            for path, body in self.kept.items():
                if body is None:
                    path.unlink(missing_ok=True)
                    if not any(path.parent.iterdir()):
                        path.parent.rmdir()
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(body)
            forget(self.kept)
            self.kept.clear()
            self.world = HERE

    def planner(self, pipeline: str = "lab.yaml", project: Path | None = None) -> Planner:
        """Compile as every verb does, as if in a new process."""
        forget(self.kept)
        path = (project or self.project) / pipeline
        options = argparse.Namespace(pipeline=path, set=[], cache=self.root / "cache", until=None)
        compiled = compile_pipeline(options)
        # What was put back after another test is not read by each that follows.
        compiled.planner.files.save()
        if self.world is HERE:
            return cast("Planner", compiled.planner)
        return Planner(compiled.graph, compiled.kinds.roots, compiled.project, self.world)

    def publish(self) -> None:
        """Pretend that all nodes ran."""
        planner = self.planner()
        records: dict[str, Record] = {}
        for name, node in planner.graph.nodes.items():
            inputs = {
                port: records[source.node].outputs[source.port].tree
                for port, source in node.inputs.items()
            }
            decision = planner.decide(node, inputs)
            records[name] = publish(planner, decision)
        planner.last.save()
        # Files that were written just now are not remembered.
        time.sleep(0.1)
        self.planner().files.save()


def publish(planner: Planner, decision: Decision) -> Record:
    """Put a record for a node into the store, with outputs that are its own."""
    node, found = decision.node, decision.key
    assert found is not None
    outputs = {}
    for port, type_ in node.stage.outputs.items():
        folder = planner.store.staging()
        (folder / "content").write_text(f"{found.digest} {port}")
        outputs[port] = Output(type_.__name__, planner.store.put_tree(folder).digest, 1)
    made = manifests.publish(planner.store, decision.manifests)
    record = Record(
        found.digest, node.kind.name, found.made_of, outputs, {}, 2.0, 2.0, 1, AGO, manifests=made
    )
    planner.store.put_record(record)
    planner.last.set(node.name, found.digest)
    return record


def forget(edited: Iterable[Path] | None = None) -> None:
    """Let this process know as little of stages and packages as a new one.

    What was not edited may stay imported: to import all stages takes longer than to plan.
    """
    kinds._packages.cache_clear()
    key.installed.cache_clear()
    key._distributions.cache_clear()
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    if edited is not None and loaded.isdisjoint(map(str, edited)):
        return
    own = ("edgepipe_stages", "edgepipe_plugin", "edgepipe_user_", "_tables", "_steps", "helpers")
    for name in [n for n in sys.modules if n.startswith(own)]:
        del sys.modules[name]
    importlib.invalidate_caches()


def downstream(graph: Graph, direct: set[str]) -> set[str]:
    """Nodes, and all that reads what they make."""
    found = set(direct)
    for name, node in graph.nodes.items():
        if any(source.node in found for source in node.inputs.values()):
            found.add(name)
    return found


Change = Callable[[Lab], None]


def definition(name: str, path: str) -> Change:
    """Another first statement for a function, ``NAME`` or ``CLASS.NAME``."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            function = _find(text, path)
            lines = text.split("\n")
            first = function.body[0]
            lines.insert(first.lineno - 1, f"{' ' * first.col_offset}edited = True")
            return "\n".join(lines)

        lab.edit(name, edit)

    return change


def value(name: str, path: str, new: str | None = None) -> Change:
    """Another value for a constant, ``NAME`` or ``CLASS.NAME``; of a call, its first argument."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            node = _find(text, path).value
            if isinstance(node, ast.Call) and new is not None and node.args:
                node = node.args[0]
            old = ast.get_source_segment(text, node)
            assert old is not None
            start, end = _span(text, node)
            return text[:start] + (new or f"({old}) if True else None") + text[end:]

        lab.edit(name, edit)

    return change


def default(name: str, path: str, argument: str, new: str) -> Change:
    """Another default for an argument of a function."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            given = _find(text, path).args
            named = dict(zip([a.arg for a in given.kwonlyargs], given.kw_defaults, strict=True))
            plain = [*given.posonlyargs, *given.args][-len(given.defaults) or None :]
            named |= dict(zip([a.arg for a in plain], given.defaults, strict=False))
            start, end = _span(text, named[argument])
            return text[:start] + new + text[end:]

        lab.edit(name, edit)

    return change


def replace(name: str, old: str, new: str) -> Change:
    return lambda lab: lab.edit(name, lambda text: text.replace(old, new, 1))


def append(name: str, text: str) -> Change:
    return lambda lab: lab.edit(name, lambda before: before + text)


def write(name: str, body: str | None) -> Change:
    return lambda lab: lab.write(name, body)


def _find(text: str, path: str) -> ast.AST:
    node: ast.AST = ast.parse(text)
    for part in path.split("."):
        node = next(n for n in node.body if part in _names(n))
    return node


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _span(text: str, node: ast.expr) -> tuple[int, int]:
    lines = text.encode().split(b"\n")

    def offset(line: int, column: int) -> int:
        before = b"\n".join(lines[: line - 1]) + (b"\n" if line > 1 else b"")
        return len((before + lines[line - 1][:column]).decode())

    return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
