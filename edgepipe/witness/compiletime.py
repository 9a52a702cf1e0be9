"""Whether the user's code may read, while a pipeline is compiled, what leaves no trace in its files.

Files are imported then, defaults made and parameters validated. What `Stage.run` alone calls does not
run. Calls are followed by name, whatever the name belongs to: a doubt is a reading.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.fingerprint.names import dotted, is_main_test, is_typing_test, last

_READS = re.compile(
    r"(.*\.)?(environb?|getenvb?|expandvars|load_dotenv|BaseSettings)"
    r"|time\.(?!sleep$|struct_time$)\w+|.*\.(now|utcnow|today|fromtimestamp)"
    # What these find is decided by variables such as CUDA_VISIBLE_DEVICES, TMPDIR, USER and PATH.
    r"|(.*\.)?cuda\.\w+|.*\.(get_num_threads|list_\w*devices)|shutil\.which"
    r"|(tempfile|getpass)\.\w+"
    r"|(.*\.)?random\.\w+|secrets\.\w+|uuid\.uuid[14]|.*\.(urandom|rand|randn|randint)"
    r"|(subprocess|socket|requests|httpx|urllib\.request)\.\w+"
    r"|exec|eval|__import__|importlib\.import_module"
)
"""Names whose values may be others each time; of code that is named while running, nothing is known."""
_OPENS = {
    *(
        "open",
        "read_text",
        "read_bytes",
        "exists",
        "is_file",
        "is_dir",
        "stat",
        "getmtime",
        "getsize",
    ),
    *(
        "isfile",
        "isdir",
        "iterdir",
        "glob",
        "rglob",
        "listdir",
        "scandir",
        "walk",
        "load",
        "loadtxt",
    ),
    *("genfromtxt", "fromfile", "read_csv", "read_json", "read_parquet"),
}
_OUTSIDE = re.compile(r"/\w|~\w*/|[A-Za-z]:[\\/]")
"""How the text of a path begins that does not start at the project."""
_HOOKS = {
    *("preflight", "needs", "model_post_init", "__init_subclass__", "__set_name__"),
    *("__class_getitem__", "__get_pydantic_core_schema__", "__get_pydantic_json_schema__"),
}
_VALIDATORS = {
    *("field_validator", "model_validator", "validator", "root_validator"),
    *("field_serializer", "model_serializer", "computed_field"),
}


@dataclass
class _Scope:
    """What runs together: a file's own statements, a function, or what makes an instance."""

    names: set[str] = field(default_factory=set)
    """Modules that it imports and names that it loads."""
    reads: bool = False
    opens: bool = False
    names_outside: bool = False


def reads_elsewhere(stages: Iterable[Path], files: Iterable[Path]) -> bool:
    """Whether what decides on a pipeline may depend on more than files that are known.

    Args:
        stages: the files of stages, which are imported.
        files: all files of the user's that these may import, and themselves.
    """
    places: dict[str, list[Path]] = defaultdict(list)
    for path in set(files):
        places[_module(path)].append(path)
    # Of "from . import x" nothing stands before the name.
    modules = {"", *(part for p in places.values() for q in p for part in q.with_suffix("").parts)}
    scopes: dict[str, _Scope] = defaultdict(_Scope)
    named, known = {_module(path) for path in stages}, set[str]()
    while named != known:
        known = set(named)
        try:
            for path in [path for name in named & places.keys() for path in places.pop(name)]:
                _File(path, modules, scopes)
        except (OSError, SyntaxError, ValueError, RecursionError):
            return True
        for name in named & scopes.keys():
            named |= scopes[name].names
    found = [scopes[name] for name in named & scopes.keys()]
    return any(s.reads for s in found) or (
        any(s.opens for s in found) and any(s.names_outside for s in found)
    )


def _module(path: Path) -> str:
    """The name of a file's own statements: none that a function could have."""
    return f"{path.parent.name if path.stem == '__init__' else path.stem}.py"


class _File:
    """Sorts a file into scopes, each under the name that makes it run."""

    def __init__(self, path: Path, modules: set[str], scopes: dict[str, _Scope]) -> None:
        tree = ast.parse(path.read_bytes())
        self._modules, self._scopes, self._top = modules, scopes, _module(path)
        self._imported: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                above = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
                self._imported |= {a.asname: f"{above}{a.name}" for a in node.names if a.asname}
                if above:
                    self._imported |= {a.name: f"{above}{a.name}" for a in node.names}
                else:
                    tops = [a.name.partition(".")[0] for a in node.names if not a.asname]
                    self._imported |= {top: top for top in tops}
        self._all(tree.body, self._top)

    def _all(self, nodes: Iterable[ast.AST | None], scope: str, owner: str = "") -> None:
        for node in nodes:
            if node is not None:
                self._add(node, scope, owner)

    def _add(self, node: ast.AST, scope: str, owner: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = (*node.args.defaults, *node.args.kw_defaults)
            self._all((*node.decorator_list, *defaults), scope)
            self._all(node.body, self._runs_with(node, owner))
        elif isinstance(node, ast.ClassDef):
            self._all(node.bases, node.name)
            self._all((*node.decorator_list, *node.keywords), scope)
            self._all((b for b in node.bases if not dotted(b)), scope)
            self._all(node.body, scope, node.name)
        elif isinstance(node, ast.If) and (is_main_test(node.test) or is_typing_test(node.test)):
            self._all(node.orelse, scope, owner)
        elif isinstance(node, ast.AnnAssign):
            self._annotation(node.annotation, scope)
            self._all((node.value,), scope)
        else:
            self._look(node, self._scopes[scope])
            self._all(ast.iter_child_nodes(node), scope, owner)

    def _runs_with(self, node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str) -> str:
        """The name under which a function's body runs."""
        marks = {last(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}
        if node.name in _HOOKS or marks & _VALIDATORS:
            return self._top
        if node.name.startswith("__") and node.name.endswith("__"):
            return owner or self._top
        return node.name

    def _annotation(self, node: ast.AST, scope: str) -> None:
        """A type is only named, but `Annotated` calls functions, or has pydantic call them."""
        if isinstance(node, ast.Call | ast.Lambda):
            self._add(node, scope, "")
        else:
            self._scopes[scope].names |= self._names(node)
            for child in ast.iter_child_nodes(node):
                self._annotation(child, scope)

    def _look(self, node: ast.AST, scope: _Scope) -> None:
        scope.names |= self._names(node)
        if isinstance(node, ast.Name | ast.Attribute):
            name = self._resolved(node)
            scope.reads |= _READS.fullmatch(name) is not None
            scope.opens |= last(node) in _OPENS
            scope.names_outside |= last(node) in {"home", "expanduser"}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            scope.names_outside |= _OUTSIDE.match(node.value) is not None
        elif isinstance(node, ast.Call):
            scope.reads |= _opens_by_name(node)

    def _names(self, node: ast.AST) -> set[str]:
        """What a node alone may make run of the user's files."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            texts = [alias.name for alias in node.names]
            texts += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            return {f"{part}.py" for text in texts for part in text.split(".")}
        if not isinstance(node, ast.Name | ast.Attribute):
            return set()
        first, _, _ = dotted(node).partition(".")
        name = self._resolved(node)
        is_foreign = first in self._imported and not self._modules & set(name.split(".")[:-1])
        return set() if is_foreign else {name.rpartition(".")[2]}

    def _resolved(self, node: ast.Name | ast.Attribute) -> str:
        """A name in full, as its file imports it: ``time.time`` for ``t``."""
        first, dot, rest = (dotted(node) or f"?.{last(node)}").partition(".")
        return f"{self._imported.get(first, first)}{dot}{rest}"


def _opens_by_name(call: ast.Call) -> bool:
    """Whether it opens a file by its bare name, in the current folder: ``open("x")``."""
    inner = call.func.value if isinstance(call.func, ast.Attribute) else None
    is_path = isinstance(inner, ast.Call) and last(inner.func) == "Path"
    opened = inner if is_path and isinstance(inner, ast.Call) else call
    if last(call.func) not in _OPENS or not (is_path or isinstance(call.func, ast.Name)):
        return False
    return bool(opened.args) and isinstance(opened.args[0], ast.Constant)
