"""What a Python file does that hides what it refers to, or makes more of it count."""

from __future__ import annotations

import ast
import re
from dataclasses import astuple, dataclass
from typing import Any

from edgepipe.fingerprint.names import Package, dotted, imports_of, last

_OPAQUE = {"globals", "locals", "eval", "exec", "__builtins__"}
"""As names: ``module.eval()`` is something else."""
_EVERYWHERE = {"__globals__", "f_back", "f_globals", "getmodule", "get_objects"}
_DOCSTRINGS = {
    "__doc__",
    "cleandoc",
    "getdoc",
    "json_schema",
    "model_json_schema",
    "models_json_schema",
    "schema_json",
    "use_attribute_docstrings",
}
_FIELDS = {"__fields__", "__pydantic_fields__", "model_fields"}
_SOURCES = {"findsource", "getsource", "getsourcelines", "linecache"}
_RUNS = {
    "create_subprocess_exec",
    "create_subprocess_shell",
    "executable",
    "run_module",
    "run_path",
    "runpy",
    "subprocess",
}
_REREADS = {
    "DataLoader",
    "Parallel",
    "ProcessPoolExecutor",
    "SourceFileLoader",
    "cloudpickle",
    "exec_module",
    "fork",
    "jit",
    "joblib",
    "keras",
    "loky",
    "multiprocessing",
    "n_jobs",
    "ray",
    "reload",
    "run_path",
    "tensorflow",
    "tf_keras",
    "triton",
}
"""Start processes that import again, or read the source of what they are given (AutoGraph,
TorchScript).
"""
_RUNS_PYTHON = re.compile(r"^-m$|(^|[\s/])python[\d.]*(\s|$)|\s-m\s")


Words = tuple[set[str], set[str], set[str]]
"""Names, attributes (keywords and parts of modules' names too) and constant texts."""


@dataclass(frozen=True)
class Traits:
    """What a file does that hides what it refers to, or makes more of it count."""

    opaque: bool = False
    """It finds its own names by text."""
    everywhere: bool = False
    """It finds definitions of other modules without naming these."""
    heirs: tuple[str, ...] = ()
    """Modules of which it finds classes by what they derive from; empty text: of any."""
    loose: tuple[str, ...] = ()
    """Names that it may look up in any module that is loaded."""
    docstrings: bool = False
    """It reads docstrings, or descriptions of parameters."""
    fields: bool = False
    """It asks a class for its parameters."""
    describes: bool = False
    """It takes the description of something."""
    sources: bool = False
    """It reads code as text, comments too."""
    runs: bool = False
    """It starts modules as programs."""
    rereads: bool = False
    """It may read files of code again that are loaded, as their source or in new processes."""
    searches: bool = False
    """It may change where modules are sought."""
    exports: tuple[str, ...] = ()
    """What its ``__all__`` lists."""

    def plain(self) -> Any:
        """As plain data."""
        return list(astuple(self))

    @classmethod
    def of_plain(cls, value: Any) -> Traits:
        """What `plain` gave, also after a way through JSON."""
        parts: list[Any] = [tuple(v) if isinstance(v, list | tuple) else v for v in value]
        return cls(*parts)

    @classmethod
    def of(cls, tree: ast.Module, words: Words, package: Package) -> Traits:
        """Read a file in which these words occur."""
        names, attributes, texts = words
        either = names | attributes
        finds_modules = "modules" in either and "sys" in either
        by_text = finds_modules and _looks_up_by_text(tree)
        return cls(
            opaque=bool(names & _OPAQUE)
            or bool(attributes & {"__dict__", "f_locals"})
            or ("vars" in names and _asks_for_all(tree))
            or finds_modules,
            everywhere=bool(either & _EVERYWHERE) or by_text,
            heirs=tuple(sorted(_heirs(tree, package))) if "__subclasses__" in either else (),
            loose=tuple(sorted(w for w in either if w.isidentifier())) if finds_modules else (),
            docstrings=bool(either & _DOCSTRINGS)
            or "__doc__" in texts
            or ("description" in either and bool(either & _FIELDS)),
            fields=bool(either & _FIELDS),
            describes=_takes_description(tree),
            sources=bool(either & _SOURCES),
            runs=bool(either & _RUNS) or any(map(_RUNS_PYTHON.search, texts)),
            rereads=bool(either & (_SOURCES | _RUNS | _REREADS))
            or finds_modules
            or any(map(_RUNS_PYTHON.search, texts)),
            searches="addsitedir" in either or ("sys" in either and _finds_modules(tree)),
            exports=tuple(sorted(_exports(tree))) if "__all__" in names else (),
        )


def words_of(tree: ast.AST) -> Words:
    """The words that occur."""
    names: set[str] = set()
    attributes: set[str] = set()
    texts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module:
            attributes.update(node.module.split("."))
        elif isinstance(node, ast.alias):
            attributes.update(node.name.split("."))
        elif isinstance(node, ast.keyword) and node.arg:
            attributes.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    return names, attributes, texts


def _exports(tree: ast.Module) -> set[str]:
    statements = [s for s in tree.body if any(last(n) == "__all__" for n in ast.walk(s))]
    return {
        node.value
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _heirs(tree: ast.AST, package: Package) -> set[str]:
    """Where the classes come from whose ``__subclasses__()`` are asked for."""
    imported = {i.local: i.module for i in imports_of(tree, package, deep=True)}
    asked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "__subclasses__"
    ]
    return {imported.get(dotted(node).partition(".")[0], "") for node in asked} or {""}


def _finds_modules(tree: ast.AST) -> bool:
    """Whether ``sys.path`` occurs."""
    imports = (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "sys")
    return any(dotted(node) == "sys.path" for node in ast.walk(tree)) or any(
        alias.name == "path" for statement in imports for alias in statement.names
    )


def _takes_description(tree: ast.AST) -> bool:
    """Whether it takes the description of something that it is given, as a helper does."""
    given: set[str] = set()
    owners: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            given |= {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Attribute) and node.attr == "description":
            owners.append(node.value)
        elif isinstance(node, ast.Call) and last(node.func) in {"attrgetter", "getattr"}:
            owners += [text for text in node.args if getattr(text, "value", "") == "description"]
    return any(not isinstance(owner, ast.Name) or owner.id in given for owner in owners)


def _asks_for_all(tree: ast.AST) -> bool:
    """Whether ``vars`` may be asked for the names of the file itself."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and last(n.func) == "vars"]
    given = {id(call.func) for call in calls if call.args}
    return any(
        isinstance(n, ast.Name) and n.id == "vars" and id(n) not in given for n in ast.walk(tree)
    )


def _looks_up_by_text(tree: ast.AST) -> bool:
    """Whether an attribute's name is found out while running."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "vars":
                return True
            constant = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id == "getattr" and not constant:
                return True
    return False
