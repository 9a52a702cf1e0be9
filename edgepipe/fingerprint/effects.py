"""Whether making a definition may do more than bind its name."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable

from edgepipe.fingerprint.names import Import, dotted, last

_QUIET_PACKAGES = {"pydantic", "edgepipe", "torch", "numpy", "typing_extensions"}
_DECORATORS = frozenset(
    {
        "abstractmethod",
        "asynccontextmanager",
        "cache",
        "cached_property",
        "classmethod",
        "computed_field",
        "contextmanager",
        "dataclass",
        "deleter",
        "field_serializer",
        "field_validator",
        "final",
        "getter",
        "inference_mode",
        "lru_cache",
        "model_serializer",
        "model_validator",
        "no_grad",
        "overload",
        "override",
        "property",
        "runtime_checkable",
        "setter",
        "staticmethod",
        "total_ordering",
        "unique",
        "wraps",
    }
)
_CALLS = frozenset(
    {
        "AfterValidator",
        "Annotated",
        "BeforeValidator",
        "ConfigDict",
        "Counter",
        "Decimal",
        "Field",
        "Literal",
        "Lock",
        "MappingProxyType",
        "Metric",
        "NewType",
        "OrderedDict",
        "ParamSpec",
        "Path",
        "PlainSerializer",
        "PlainValidator",
        "Port",
        "PurePath",
        "PurePosixPath",
        "RLock",
        "TypeVar",
        "WrapValidator",
        "attrgetter",
        "auto",
        "bool",
        "cast",
        "compile",
        "defaultdict",
        "deque",
        "dict",
        "field",
        "float",
        "frozenset",
        "getLogger",
        "int",
        "itemgetter",
        "len",
        "list",
        "namedtuple",
        "optional",
        "partial",
        "range",
        "set",
        "str",
        "timedelta",
        "tuple",
    }
)
_METHODS = frozenset(
    {"absolute", "join", "joinpath", "lower", "resolve", "split", "strip", "upper"}
)
"""Of texts and paths: they give a value and change nothing."""
_EXPRESSIONS = (
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.Tuple,
    ast.List,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.Subscript,
    ast.Slice,
    ast.IfExp,
    ast.JoinedStr,
    ast.FormattedValue,
    ast.Starred,
)
_OPERATORS = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.FormattedValue,
    ast.IfExp,
    ast.Starred,
    ast.UnaryOp,
)
_Def = ast.FunctionDef | ast.AsyncFunctionDef


class Effects:
    """Tells for the definitions of one module.

    Args:
        body: the module's statements.
        imports: what they import.
        bound: the names that they bind.
    """

    def __init__(self, body: list[ast.stmt], imports: Iterable[Import], bound: set[str]) -> None:
        self._imports = {i.local: i.module.partition(".")[0] for i in imports if i.local}
        self._bound = bound
        self._modules = {i.local or i.module for i in imports if not i.attribute}
        self._strange = self._acting(body)
        self.classes: set[str] = set()
        """Classes of this module that nobody notices being derived from."""

    def is_free(self, statement: ast.stmt) -> bool:
        """Whether making a definition does nothing but bind its name."""
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            return self._is_free_assignment(statement)
        if isinstance(statement, ast.ClassDef):
            return self._is_free_class(statement)
        assert isinstance(statement, _Def)
        return self._is_free_function(statement)

    def _is_free_function(self, function: _Def) -> bool:
        defaults = [*function.args.defaults, *function.args.kw_defaults]
        given = function.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        annotations = [function.returns, *(a.annotation for a in arguments if a is not None)]
        return (
            all(map(self._is_quiet_decorator, function.decorator_list))
            and all(default is None or self._is_pure(default) for default in defaults)
            and all(map(self._is_quiet_annotation, annotations))
        )

    def _is_free_assignment(self, statement: ast.Assign | ast.AnnAssign) -> bool:
        annotation = statement.annotation if isinstance(statement, ast.AnnAssign) else None
        pure = statement.value is None or self._is_pure(statement.value)
        return pure and self._is_quiet_annotation(annotation)

    def _is_quiet_annotation(self, node: ast.expr | None) -> bool:
        """Whether evaluating an annotation calls nothing that could do something."""
        calls = [] if node is None else [n for n in ast.walk(node) if isinstance(n, ast.Call)]
        return all(map(self._is_pure, calls))

    def _is_free_class(self, class_: ast.ClassDef) -> bool:
        return (
            all(map(self._is_quiet_decorator, class_.decorator_list))
            and all(map(self._is_quiet_base, class_.bases))
            and all(k.arg == "metaclass" and _tail(k.value) == "ABCMeta" for k in class_.keywords)
            and all(map(self._is_free_in_class, class_.body))
        )

    def _is_free_in_class(self, statement: ast.stmt) -> bool:
        if isinstance(statement, _Def):
            hooks = {"__init_subclass__", "__class_getitem__", "__set_name__"}
            return statement.name not in hooks and self._is_free_function(statement)
        if isinstance(statement, ast.ClassDef):
            return self._is_free_class(statement)
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            return self._is_free_assignment(statement)
        return isinstance(statement, ast.Pass)

    def _is_quiet_decorator(self, node: ast.expr) -> bool:
        call = node.func if isinstance(node, ast.Call) else node
        arguments = (
            node.args + [k.value for k in node.keywords] if isinstance(node, ast.Call) else []
        )
        tail, root = _tail(call), dotted(call).partition(".")[0]
        known = tail in _DECORATORS and (self._is_quiet(root) or tail in {"setter", "deleter"})
        return known and all(map(self._is_pure, arguments))

    def _is_quiet_base(self, node: ast.expr) -> bool:
        base = node.value if isinstance(node, ast.Subscript) else node
        root = dotted(base).partition(".")[0]
        return root in self.classes or (bool(root) and self._is_quiet(root))

    def _is_quiet(self, root: str) -> bool:
        """Whether a name comes from where nothing is registered by being used."""
        if root in self._imports:
            top = self._imports[root]
            return top in sys.stdlib_module_names or top in _QUIET_PACKAGES
        return root not in self._bound and hasattr(builtins, root)

    def _is_pure(self, node: ast.expr) -> bool:
        """Whether evaluating it does nothing but give a value."""
        if isinstance(node, ast.Lambda):
            return True
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and self._is_known(node.func.value):
                parts = [node.func.value, *node.args, *(k.value for k in node.keywords)]
                return node.func.attr in _METHODS and all(map(self._is_pure, parts))
            root = dotted(node.func).partition(".")[0]
            validates = root in self.classes and _tail(node.func) == "model_validate"
            if not validates and (_tail(node.func) not in _CALLS or not self._is_quiet(root)):
                return False
            return all(map(self._is_pure, [*node.args, *(k.value for k in node.keywords)]))
        if not isinstance(node, _EXPRESSIONS) or self._acts(node):
            return False
        return all(
            self._is_pure(child)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.expr)
        )

    def _is_known(self, node: ast.expr) -> bool:
        """Whether it is a text written out, or a path made of what is given there."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        if isinstance(node, ast.Attribute):
            return node.attr == "parent" and self._is_known(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr in _METHODS and self._is_known(node.func.value)
        paths = {"Path", "PurePath", "PurePosixPath"}
        return isinstance(node, ast.Call) and last(node.func) in paths

    def _acting(self, body: list[ast.stmt]) -> set[str]:
        """Names of what is imported, or made of that: an operator on it may do anything."""
        found = {local for local in self._imports if not self._is_quiet(local)}
        for statement in body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and (
                name := name_bound(statement)
            ):
                values = [] if statement.value is None else ast.walk(statement.value)
                if any(isinstance(node, ast.Name) and node.id in found for node in values):
                    found.add(name)
        return found

    def _acts(self, node: ast.expr) -> bool:
        """Whether it asks something imported to do what operators, attributes and items stand for."""
        if isinstance(node, ast.Attribute):
            return _root(node.value) in self._strange and dotted(node.value) not in self._modules
        if isinstance(node, ast.Subscript):
            return _root(node.value) in self._strange
        if isinstance(node, _OPERATORS):
            parts = ast.iter_child_nodes(node)
            return any(isinstance(p, ast.expr) and _root(p) in self._strange for p in parts)
        return False


def name_bound(statement: ast.stmt) -> str | None:
    """The name of what may be a definition; None for what is none."""
    if isinstance(statement, _Def | ast.ClassDef):
        return statement.name
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        return target.id if isinstance(target, ast.Name) else None
    return None


def _root(node: ast.expr) -> str:
    """The name that attributes and items are taken from."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _tail(node: ast.expr) -> str:
    return dotted(node).rpartition(".")[2]
