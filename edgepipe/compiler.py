"""Spec → Graph: kinds, matrix expansion, typed ports, gates. Checked whole before anything runs."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from edgepipe.config import Config, shown
from edgepipe.environments import Environment, Environments
from edgepipe.errors import ConfigError, Problem, did_you_mean
from edgepipe.gatecheck import Choice, bind
from edgepipe.gates import Ref
from edgepipe.graph import Graph, GraphNode, Source
from edgepipe.kinds import Kind, Kinds, packages
from edgepipe.sources import missing
from edgepipe.spec import Scalar, check_model, validate
from edgepipe.stage import Port, Stage, ports_of
from edgepipe.variables import fill_matrix, matrix_axes, scalar_text
from edgepipe.yamltree import Node

_IN_NAME = re.compile(r"[^,\[\]\n]{1,80}")
MAX_INSTANCES = 10_000
"""Nodes that one entry of ``stages`` may become."""


def compile_graph(config: Config, kinds: Kinds, project: Path) -> Graph:
    """Check a pipeline whole and make its graph.

    Args:
        config: the pipeline's text.
        kinds: the kinds that it may use.
        project: the folder that holds the code that its parameters name.

    Raises:
        ConfigError: with every problem found, in the order of the text.
    """
    return _Compiler(config, kinds, project).compile()


@dataclass
class _Family:
    """All instances of one entry of ``stages``."""

    name: str
    kind: Kind
    tree: Node
    refs: dict[str, tuple[Ref, Node]]
    axes: dict[str, list[Scalar]]
    environment: Environment | None = None
    members: list[GraphNode] = field(default_factory=list)
    """Empty where what it reads is wrong: then nothing is said of what reads it."""
    broken: bool = False
    """What it reads is wrong."""


class _Compiler:
    def __init__(self, config: Config, kinds: Kinds, project: Path) -> None:
        self.config = config
        self.kinds = kinds
        self.project = project
        self.spec, problems = validate(config.root)
        self.problems: list[Problem] = problems
        self.variables: list[Problem] = []
        """Of variables of the matrix."""
        self.unknown = set(config.unknown)
        self.families: dict[str, _Family] = {}
        stages = config.root.at(("stages",))
        self.known = tuple(stages.value) if isinstance(stages.value, dict) else ()
        """Names of all nodes, the wrong ones too."""

    @cached_property
    def environments(self) -> Environments:
        """Those that nodes may name."""
        return Environments.of(self.project, packages())

    def compile(self) -> Graph:
        stages = self.config.root.at(("stages",))
        for name in self.spec.stages:
            self._family(name, stages.value[name], stages.key(name))
        nodes: dict[str, GraphNode] = {}
        for name in self._order():
            family = self.families[name]
            self._expand(family)
            nodes |= {node.name: node for node in family.members}
        written = self.config.root.at(("gates",))
        gates = tuple(bind(written, self.spec.gates, self._choices, self.problems))
        if self.problems or self.variables or self.config.problems:
            raise ConfigError(self._sorted())
        spec = self.spec
        return Graph(spec.name, spec.seed, self.config.path, nodes, gates, self.config.files)

    def _sorted(self) -> list[Problem]:
        """Each problem once, in the order of the text."""
        files = {shown(file): number for number, file in enumerate(self.config.files)}
        # What is wrong with a value that is not known was said where the variable is used.
        found = (p for p in self.problems if p.where not in self.unknown)
        problems = dict.fromkeys((*self.config.problems, *self.variables, *found))

        def place(problem: Problem) -> tuple[int, int, int]:
            where = problem.where
            assert where is not None
            return files.get(where.file, -1), where.line, where.column

        return sorted(problems, key=place)

    def _problem(self, message: str, hint: str, node: Node) -> None:
        self.problems.append(Problem(message, hint, node.where))

    def _family(self, name: str, tree: Node, key: Node) -> None:
        spec = self.spec.stages[name]
        try:
            kind = self.kinds.get(spec.uses, tree.at(("uses",)).where)
            stage = kind.stage
        except ConfigError as error:
            self.problems += error.problems
            return
        ports = ports_of(stage)
        refs: dict[str, tuple[Ref, Node]] = {}
        for port, text in spec.in_.items():
            node = tree.at(("in", port))
            if port not in ports:
                hint = did_you_mean(port, ports, f"inputs of {kind.name}")
                place = tree.at(("in",)).key(port)
                self._problem(f"{kind.name} has no input '{port}'", hint, place)
                continue
            ref = Ref.parse(text)
            if ref is None or len(ref.rest) > 1:
                hint = "write NODE, NODE.PORT or NODE[INDEX].PORT"
                self._problem(f"'{text}' is no reference to a node", hint, node)
            elif ref.node not in self.known:
                hint = did_you_mean(ref.node, self.known, "nodes")
                self._problem(f"there is no node '{ref.node}'", hint, node)
            else:
                refs[port] = (ref, node)
        misspelt = [port for port in spec.in_ if port not in ports]
        for port, declared in ports.items():
            needed = not declared.optional and port not in spec.in_
            if needed and not get_close_matches(port, misspelt):
                place = tree.key("in") if "in" in tree.value else key
                message = f"the input '{port}' of {kind.name} is not connected"
                hint = f"write in: {{{port}: NODE}}, a node that gives {declared.type.__name__}"
                self._problem(message, hint, place)
        axes = {axis: self._axis(axis, values, tree) for axis, values in spec.matrix.items()}
        environment = self._environment(spec.env or stage.environment, tree)
        self.families[name] = _Family(name, kind, tree, refs, axes, environment)

    def _environment(self, name: str | None, tree: Node) -> Environment | None:
        """The environment that a node runs in; a problem where it cannot be used."""
        if name is None:
            return None
        place = tree.at(("env",)) if "env" in tree.value else tree.at(("uses",))
        try:
            environment = self.environments.get(name, place.where)
        except ConfigError as error:
            self.problems += [replace(p, where=p.where or place.where) for p in error.problems]
            return None
        problem = environment.problem(place.where)
        self.problems += [problem] if problem is not None else []
        return environment

    def _axis(self, axis: str, values: list[Scalar], tree: Node) -> list[Scalar]:
        """An axis' values, without those that cannot tell nodes apart."""
        found: dict[str, Scalar] = {}
        for number, value in enumerate(values):
            node = tree.at(("matrix", axis, number))
            text = scalar_text(value)
            if text in found or value in found.values():
                hint = "each value names a node: write it once"
                self._problem(f"{text} is there twice in the axis '{axis}'", hint, node)
            elif not _IN_NAME.fullmatch(text):
                hint = "a value names a node: up to 80 signs, no comma, bracket or line break"
                self._problem(f"{json.dumps(value)} cannot be part of a name", hint, node)
            else:
                found[text] = value
        return list(found.values())

    def _order(self) -> list[str]:
        """Families in an order in which each comes after what it reads."""
        while True:
            before = {
                name: [ref.node for ref, _ in family.refs.values() if ref.node in self.families]
                for name, family in self.families.items()
            }
            try:
                return list(TopologicalSorter(before).static_order())
            except CycleError as error:
                self._break(error.args[1], list(before))

    def _break(self, cycle: list[str], order: list[str]) -> None:
        """Report a cycle, and take a reference out of it."""
        first = min(range(len(cycle) - 1), key=lambda i: order.index(cycle[i]))
        cycle = [*cycle[first:-1], *cycle[:first], cycle[first]]
        refs = self.families[cycle[0]].refs
        port = next(port for port, (ref, _) in refs.items() if ref.node == cycle[-2])
        message = f"the graph has a cycle: {' → '.join(cycle)}"
        self._problem(message, "a node cannot read what is made from it", refs[port][1])
        family = self.families[cycle[0]]
        del refs[port]
        family.broken = True

    def _expand(self, family: _Family) -> None:
        """Make the nodes of a family: one for each point of its own and its inputs' axes."""
        axes: dict[str, list[Scalar]] = {}
        chosen: dict[str, list[Choice]] = {}
        for port, (ref, place) in family.refs.items():
            source = self.families.get(ref.node)
            chosen[port] = self._members(source, ref, place) if source else []
            if not chosen[port]:
                family.broken = True
                continue
            for axis in chosen[port][0].open:
                values = list(dict.fromkeys(choice.open[axis] for choice in chosen[port]))
                axes[axis] = [v for v in axes.get(axis, values) if v in values]
        given = {**axes, **family.axes}
        if math.prod(map(len, given.values())) > MAX_INSTANCES:
            message = f"the matrix makes '{family.name}' more than {MAX_INSTANCES:,} nodes"
            self._problem(message, "leave values out", family.tree.key("matrix"))
            return
        for combination in itertools.product(*given.values()):
            point = dict(zip(given, combination, strict=True))
            inputs = {
                port: choice.node
                for port, choices in chosen.items()
                for choice in choices
                if choice.open.items() <= point.items()
            }
            open_ports = [port for port in chosen if port not in inputs and not family.broken]
            for port in open_ports[:1]:
                ref, place = family.refs[port]
                hint = "give both the same values, or choose one node: NODE[INDEX]"
                message = f"'{ref}' has no node for {_shown(point)}"
                self._problem(message, hint, place)
            if not open_ports:
                self._instance(family, point, inputs)
        if not family.members and axes and not family.broken and all(family.axes.values()):
            ref, place = next(iter(family.refs.values()))
            message = f"the inputs of '{family.name}' have no value of an axis in common"
            self._problem(message, f"axes: {', '.join(axes)}", place)

    def _choices(self, ref: Ref, place: Node) -> list[Choice]:
        """The instances that a gate's reference means; none where it or they are wrong."""
        if ref.node not in self.known:
            hint = did_you_mean(ref.node, self.known, "nodes")
            self._problem(f"there is no node '{ref.node}'", hint, place)
        family = self.families.get(ref.node)
        return self._members(family, ref, place) if family else []

    def _members(self, family: _Family, ref: Ref, place: Node) -> list[Choice]:
        """The instances that a reference means: all, or those that its index picks."""
        wanted: dict[str, str] = {}
        axes = list(family.members[0].axes) if family.members else []
        for number, part in enumerate(ref.index.split(",") if ref.index is not None else ()):
            axis, equals, value = part.partition("=")
            if not equals:
                axis, value = (axes[number] if number < len(axes) else ""), part
            wanted[axis.strip()] = value.strip()
        found = [
            Choice(member, {a: v for a, v in member.axes.items() if a not in wanted})
            for member in family.members
            if all(scalar_text(member.axes.get(a, "")) == v for a, v in wanted.items())
        ]
        if not found and family.members:
            names = [member.name for member in family.members]
            hint = did_you_mean(f"{ref.node}[{ref.index}]", names, "it has")
            message = f"there is no '{ref.node}[{ref.index}]'"
            if not axes:
                message, hint = f"'{ref.node}' has no matrix", f"write {ref.node}"
            self._problem(message, hint, place)
        return found

    def _instance(
        self, family: _Family, point: dict[str, Scalar], inputs: dict[str, GraphNode]
    ) -> None:
        kind, spec = family.kind, self.spec.stages[family.name]
        tree = self._parameters(family, point)
        problems = list(check_model(kind.stage, tree, tree.plain(), kind.name))
        if problems:
            self.problems += problems
            stage = kind.stage.model_construct()
        else:
            stage = _construct(kind.stage, tree)
            for parameter, message, hint in stage.preflight(frozenset(spec.in_)):
                path = tuple(parameter.split(".")) if parameter else ()
                self._problem(message, hint, tree.at(path))
            self.problems += missing(stage, tree, self.project)
        if family.broken:
            return
        name = family.name
        if point:
            name += f"[{','.join(scalar_text(value) for value in point.values())}]"
        family.members.append(
            GraphNode(
                name=name,
                kind=kind,
                stage=stage,
                inputs=dict(self._sources(family, inputs)),
                seed=self.spec.seed if spec.seed is None else spec.seed,
                timeout=spec.timeout,
                cpus=kind.stage.cpus if spec.cpus is None else spec.cpus,
                base=self.config.path.parent,
                place=family.tree.at(("uses",)).where,
                tree=tree,
                axes=point,
                environment=family.environment,
            )
        )

    def _parameters(self, family: _Family, point: Mapping[str, Scalar]) -> Node:
        """The ``with:`` of an instance: its own axes are parameters, unless used as a text."""
        tree = family.tree
        uses, given = tree.at(("uses",)), tree.value.get("with")
        if given is None or given.value is None:
            given = Node({}, uses.source, uses.line, uses.column, uses.width, {})
        used = matrix_axes(given)
        # An axis that is not there may be one that a wrong input would have brought.
        wrong: list[Problem] = []
        filled = fill_matrix(given, point, wrong)
        self.unknown |= {problem.where for problem in wrong if problem.where}
        self.variables += () if family.broken else wrong
        values, keys = dict(filled.value), dict(filled.keys or {})
        for axis in family.axes:
            place = tree.at(("matrix",)).key(axis)
            if axis in used:
                continue
            if axis in values:
                hint = "take it out of one of them"
                message = f"'{axis}' stands in 'with' and in 'matrix'"
                self._problem(message, hint, keys.get(axis, place))
            number = family.axes[axis].index(point[axis])
            item = tree.at(("matrix", axis, number))
            values[axis] = replace(item, value=point[axis])
            keys[axis] = place
        return replace(filled, value=values, keys=keys)

    def _sources(
        self, family: _Family, inputs: Mapping[str, GraphNode]
    ) -> Iterator[tuple[str, Source]]:
        ports = ports_of(family.kind.stage)
        for port, member in inputs.items():
            ref, place = family.refs[port]
            source = self._port(family, port, ports[port], member, ref, place)
            if source is not None:
                yield port, Source(member.name, source)

    def _port(
        self, family: _Family, port: str, wanted: Port, member: GraphNode, ref: Ref, place: Node
    ) -> str | None:
        """The output port that a reference means, checked against the input's type."""
        outputs = member.stage.outputs
        fits = [name for name, type_ in outputs.items() if issubclass(type_, wanted.type)]
        needs = f"input '{port}' of {family.kind.name} takes {wanted.type.__name__}"
        listed = ", ".join(f"{name} ({type_.__name__})" for name, type_ in outputs.items())
        if ref.rest:
            name = ref.rest[0]
            if name not in outputs:
                hint = did_you_mean(name, outputs, f"outputs of {member.kind.name}")
                self._problem(f"'{ref.node}' has no output '{name}'", hint, place)
                return None
            if name not in fits:
                self._problem(
                    f"{needs}, but {ref} gives {outputs[name].__name__}",
                    _who_gives(wanted, self.families.values(), family.name),
                    place,
                )
                return None
            return name
        if len(fits) == 1:
            return fits[0]
        if fits:
            hint = f"write one of {', '.join(f'{ref}.{name}' for name in fits)}"
            self._problem(f"{needs}, and '{ref}' gives several", hint, place)
        else:
            hint = _who_gives(wanted, self.families.values(), family.name)
            self._problem(f"{needs}, but '{ref}' gives {listed or 'nothing'}", hint, place)
        return None


def _shown(point: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{axis} = {scalar_text(value)}" for axis, value in point.items())


def _construct(stage: type[Stage], tree: Node) -> Stage:
    return stage.model_validate_json(json.dumps(tree.plain()), strict=True)


def _who_gives(wanted: Port, families: Iterable[_Family], but: str) -> str:
    """A hint: the outputs of this pipeline that would fit."""
    names = [
        f"{family.name}.{port}"
        for family in families
        for port, type_ in family.kind.stage.outputs.items()
        if family.name != but and issubclass(type_, wanted.type)
    ]
    name = wanted.type.__name__
    return f"{name} comes from: {', '.join(names)}" if names else f"no node here gives {name}"
