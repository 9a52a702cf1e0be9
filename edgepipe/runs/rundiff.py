"""What differs between two runs: parameters, metrics and artifacts, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgepipe.results import NodeResult, RunResult


def compare(a: RunResult, b: RunResult) -> dict[str, Any]:
    """The difference as plain data; only nodes that differ are in it.

    For each node: ``status`` (``both``, ``only a``, ``only b``), ``params`` (path → ``a``, ``b``),
    ``metrics`` (name → ``a``, ``b``, ``difference``, ``unit``, in base units) and ``outputs``
    (port → ``a``, ``b``, each with ``type``, ``digest`` and ``size`` in bytes). What one of the two
    has not is None.
    """
    first = {node.name: node for node in a.nodes}
    second = {node.name: node for node in b.nodes}
    nodes = {}
    same = []
    for name in dict.fromkeys([*first, *second]):
        found = _node(first.get(name), second.get(name))
        if found["status"] == "both" and not any(found[part] for part in _PARTS):
            same.append(name)
        else:
            nodes[name] = found
    facts = ("pipeline", "seed", "status", "edgepipe")
    return {
        "a": _head(a),
        "b": _head(b),
        "run": {
            **_pairs({f: getattr(a, f) for f in facts}, {f: getattr(b, f) for f in facts}),
            **_pairs(_flat(a.versions, "versions"), _flat(b.versions, "versions")),
            **_pairs(_flat(a.machine, "machine"), _flat(b.machine, "machine")),
        },
        "nodes": nodes,
        "same": same,
    }


_PARTS = ("params", "metrics", "outputs")


def _head(run: RunResult) -> dict[str, Any]:
    return {"id": run.id, "started": run.started, "seconds": run.seconds, "status": run.status}


def _node(a: NodeResult | None, b: NodeResult | None) -> dict[str, Any]:
    units = {**(a.units if a else {}), **(b.units if b else {})}
    metrics = _pairs(a.metrics if a else {}, b.metrics if b else {})
    for name, pair in metrics.items():
        both = pair["a"] is not None and pair["b"] is not None
        pair["difference"] = pair["b"] - pair["a"] if both else None
        pair["unit"] = units.get(name, "number")
    return {
        "status": "both" if a and b else "only a" if a else "only b",
        "params": _pairs(_params(a), _params(b)),
        "metrics": metrics,
        "outputs": _pairs(_outputs(a), _outputs(b)),
    }


def _params(node: NodeResult | None) -> dict[str, Any]:
    return {} if node is None else {"uses": node.kind, **dict(_leaves(node.params, ""))}


def _outputs(node: NodeResult | None) -> dict[str, Any]:
    outputs = {} if node is None else node.outputs
    return {p: {"type": o.type, "digest": o.digest, "size": o.size} for p, o in outputs.items()}


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {"a": a.get(name), "b": b.get(name)}
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    }


def _flat(value: Mapping[str, Any], path: str) -> dict[str, Any]:
    return dict(_leaves(value, path))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, value
