"""Imports go down only, and the parts that must not know of each other do not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgepipe
import edgepipe_stages

ENGINE = Path(edgepipe.__file__).parent
STAGES = Path(edgepipe_stages.__file__).parent
FRAMEWORKS = {
    "torch",
    "tensorflow",
    "tf_keras",
    "keras",
    "onnx",
    "onnx_tf",
    "onnxruntime",
    "onnxscript",
    "numpy",
    "PIL",
    "sklearn",
    "safetensors",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "litert_torch",
    "torch_pruning",
    "torchvision",
    "timm",
    "edgepipe_stages",
}

LAYERS = [
    {"cli", "__main__", "launcher"},
    {"report", "runner", "executor", "worker", "machine", "witness", "temporary"},
    {"compiler", "planner", "manual", "runs", "remote"},
    {"gatecheck"},
    {"config", "variables", "yamlparse", "key", "graph", "store", "project", "sources"}
    | {"dumping"},
    {"environments"},
    {"spec", "stage", "kinds", "fingerprint", "filestate", "events", "results", "gates"}
    | {"explain"},
    {"context"},
    {"yamltree", "tomlplaces", "units", "parameters", "locations", "artifact"},
    {"plainmodel", "usercode", "watch"},
    {"digest", "errors", "masking", "holding", "noop", "replacing", "signing"} | {"plaindata"},
]
"""From the top down: a module imports of its own layer or of lower ones."""


def modules(root: Path) -> list[Path]:
    # Templates are files of the projects that init makes, and no modules.
    beside = {"__pycache__", "templates"}
    return sorted(p for p in root.rglob("*.py") if not beside & set(p.parts))


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree) if not top_only else _top(tree.body):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _top(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs when a module is imported."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            inner = getattr(node, field, None)
            if isinstance(inner, list) and not isinstance(node, ast.FunctionDef):
                yield from _top(inner)


def name(path: Path) -> str:
    return path.relative_to(ENGINE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(ENGINE), ids=lambda p: str(p.relative_to(ENGINE)))
def test_the_engine_knows_no_framework_and_no_stage(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports(path)} & FRAMEWORKS


@pytest.mark.parametrize("path", modules(ENGINE), ids=lambda p: str(p.relative_to(ENGINE)))
def test_imports_go_down_only(path: Path) -> None:
    if name(path) == "__init__":
        assert not list(imports(path))
        return
    layer = {module: number for number, layer in enumerate(LAYERS) for module in layer}
    for module in imports(path):
        package, _, rest = module.partition(".")
        target = rest.split(".")[0]
        if package == "edgepipe" and target in layer:
            assert layer[target] >= layer[name(path)], f"{path.name} imports {module}"


@pytest.mark.parametrize("module", ["runner", "planner", "store", "key", "digest", "gates"])
def test_what_decides_knows_no_screen_and_no_text(module: str) -> None:
    files = [path for path in modules(ENGINE) if name(path) == module]
    assert files
    found = [imported for path in files for imported in imports(path)]
    assert not {imported.split(".")[0] for imported in found} & {"rich", "yaml"}
    assert not any(imported.startswith("edgepipe.report") for imported in found)


def test_only_the_graph_uses_networkx_and_only_the_parser_uses_yaml() -> None:
    users = {
        package: {
            name(path)
            for path in modules(ENGINE)
            if any(module.split(".")[0] == package for module in imports(path))
        }
        for package in ("networkx", "yaml", "rich")
    }
    assert users["networkx"] <= {"graph"}
    assert users["yaml"] == {"yamlparse"}
    assert users["rich"] == {"report"}


def test_the_executor_knows_nothing_of_graphs_and_caches() -> None:
    for path in modules(ENGINE / "executor"):
        found = {module for module in imports(path) if module.startswith("edgepipe.")}
        beside = ("units", "machine", "masking", "temporary")
        known = ("edgepipe.executor", *(f"edgepipe.{module}" for module in beside))
        assert all(module.startswith(known) for module in found)


@pytest.mark.parametrize("path", modules(STAGES), ids=lambda p: str(p.relative_to(STAGES)))
def test_stages_import_only_the_contract_of_the_engine(path: Path) -> None:
    allowed = ("edgepipe.stage", "edgepipe.errors", "edgepipe.units", "edgepipe.usercode")
    found = [module for module in imports(path) if module.split(".")[0] == "edgepipe"]
    assert all(module.startswith(allowed) for module in found)


def stage_files() -> list[Path]:
    return [
        p
        for p in modules(STAGES)
        if not any(q.startswith("_") for q in p.relative_to(STAGES).parts)
    ]


@pytest.mark.parametrize("path", stage_files(), ids=lambda p: str(p.relative_to(STAGES)))
def test_a_stage_imports_frameworks_inside_run_only(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports(path, top_only=True)} & FRAMEWORKS - {
        "edgepipe_stages"
    }
