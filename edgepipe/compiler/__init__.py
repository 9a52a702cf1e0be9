"""Spec → Graph: kinds, matrix expansion, typed ports, gates. Checked whole before anything runs."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from edgepipe.compiler.expansion import Point, choices, points
from edgepipe.compiler.families import Family, Problems, in_order, read_family
from edgepipe.compiler.wiring import wire
from edgepipe.config import Config, shown
from edgepipe.environments import Environment, Environments
from edgepipe.errors import ConfigError, Problem, did_you_mean
from edgepipe.gatecheck import Choice, bind
from edgepipe.gates import Ref
from edgepipe.graph import Graph, GraphNode, Source
from edgepipe.kinds import Kinds, packages
from edgepipe.sources import missing, unkept
from edgepipe.spec import Scalar, parse_model, validate
from edgepipe.stage import Stage, ports_of
from edgepipe.units import parse_size
from edgepipe.variables import fill_matrix, matrix_axes, scalar_text
from edgepipe.yamltree import Node


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


class _Compiler:
    def __init__(self, config: Config, kinds: Kinds, project: Path) -> None:
        self.config = config
        self.kinds = kinds
        self.project = project
        self.spec, found = validate(config.root)
        self.problems = Problems(found)
        self.variables: list[Problem] = []
        """Of variables of the matrix."""
        self.unknown = set(config.unknown)
        self.families: dict[str, Family] = {}
        stages = config.root.at(("stages",))
        self.known = dict.fromkeys(stages.value if isinstance(stages.value, dict) else ())
        """Names of all nodes, the wrong ones too; sought once for each input."""

    @cached_property
    def environments(self) -> Environments:
        """Those that nodes may name."""
        return Environments.of(self.project, packages())

    def compile(self) -> Graph:
        for name in self.spec.stages:
            self._family(name)
        nodes: dict[str, GraphNode] = {}
        for family in in_order(self.families, self.problems):
            for point in points(family, self.families, self.problems):
                self._instance(family, point)
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

    def _family(self, name: str) -> None:
        stages = self.config.root.at(("stages",))
        tree, spec = stages.value[name], self.spec.stages[name]
        key = replace(stages.key(name), value=name)
        try:
            kind = self.kinds.get(spec.uses, tree.at(("uses",)).where)
            family = read_family(kind, spec, tree, key, self.known, self.problems)
            family.environment = self._environment(spec.env or kind.stage.environment, tree)
            self.families[name] = family
        except ConfigError as error:
            self.problems += error.problems

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

    def _choices(self, ref: Ref, place: Node) -> list[Choice]:
        """The nodes that a gate's reference means; none where it or they are wrong."""
        if ref.node not in self.known:
            hint = did_you_mean(ref.node, self.known, "nodes")
            self.problems.add(f"there is no node '{ref.node}'", hint, place)
        family = self.families.get(ref.node)
        return choices(family, ref, place, self.problems) if family else []

    def _instance(self, family: Family, point: Point) -> None:
        """Make the node at a point, unless something of it is wrong."""
        kind, spec = family.kind, family.spec
        tree = self._parameters(family, point.axes)
        try:
            stage, problems = parse_model(kind.stage, tree, kind.name)
            self.problems += problems
        except Exception as error:
            stage = None
            self._raised("the stage's own validation", error, tree)
        if stage is None:
            stage = kind.stage.model_construct()
        else:
            self._look_over(stage, tree, frozenset(spec.in_))
        if family.broken:
            return
        name = family.name
        if point.axes:
            name += f"[{','.join(map(scalar_text, point.axes.values()))}]"
        family.members.append(
            GraphNode(
                name=name,
                kind=kind,
                stage=stage,
                inputs=self._sources(family, point),
                seed=self.spec.seed if spec.seed is None else spec.seed,
                timeout=spec.timeout,
                cpus=int(kind.stage.cpus) if spec.cpus is None else spec.cpus,
                gpus=int(kind.stage.gpus) if spec.gpus is None else spec.gpus,
                memory=int(kind.stage.memory) if spec.memory is None else parse_size(spec.memory),
                retries=spec.retries,
                base=self.config.path.parent,
                place=family.tree.at(("uses",)).where,
                tree=tree,
                axes=point.axes,
                environment=family.environment,
            )
        )

    def _look_over(self, stage: Stage, tree: Node, connected: frozenset[str]) -> None:
        """What the stage itself finds wrong with its parameters, and what they name in vain."""
        try:
            for parameter, message, hint in stage.preflight(connected):
                path = tuple(parameter.split(".")) if parameter else ()
                self.problems.add(message, hint, tree.at(path))
        except Exception as error:
            self._raised("preflight()", error, tree, "; it gives (parameter, message, hint)")
        self.problems += missing(stage, tree, self.project)
        try:
            changed = unkept(stage)
        except Exception as error:
            changed = []
            self._raised("to write its parameters as JSON", error, tree)
        if changed:
            self.problems.add(
                f"{', '.join(changed)} would reach the worker changed: parameters travel as JSON",
                "no SecretStr (edgepipe.stage.Secret), no exclude, no computed fields; a validator"
                " leaves what it made as it is",
                tree.at((changed[0],)) if changed[0] in tree.value else tree,
            )

    def _raised(self, what: str, error: Exception, tree: Node, more: str = "") -> None:
        """The user's code may raise anything, or return what is none."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}".split("\n")[0]
        hint = f"raised at {last.filename}:{last.lineno}{more}"
        self.problems.add(f"{what} failed: {said}", hint, tree)

    def _sources(self, family: Family, point: Point) -> dict[str, Source]:
        ports = ports_of(family.kind.stage)
        found = {
            port: wire(family, port, ports[port], member, self.families.values(), self.problems)
            for port, member in point.inputs.items()
        }
        return {port: source for port, source in found.items() if source is not None}

    def _parameters(self, family: Family, point: Mapping[str, Scalar]) -> Node:
        """The ``with:`` of a node: its own axes are parameters, unless used as a text."""
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
                self.problems.add(message, hint, keys.get(axis, place))
            number = family.axes[axis].index(point[axis])
            item = tree.at(("matrix", axis, number))
            values[axis] = replace(item, value=point[axis])
            keys[axis] = place
        return replace(filled, value=values, keys=keys)
