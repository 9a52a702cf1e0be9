"""A pipeline's graph: as text, as mermaid (for markdown) or as dot (for Graphviz)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from edgepipe.cli._common import add_json, add_pipeline, compile_pipeline, print_json
from edgepipe.graph import Graph


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("--until", metavar="NODE", help="only this node and what it needs")
    parser.add_argument("--format", choices=["text", "mermaid", "dot"], default="text")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    graph = compile_pipeline(options).graph
    if options.json:
        nodes = [
            {
                "name": node.name,
                "kind": node.kind.name,
                "inputs": {port: str(source) for port, source in node.inputs.items()},
                "outputs": {port: type_.__name__ for port, type_ in node.stage.outputs.items()},
            }
            for node in graph.nodes.values()
        ]
        print_json({"pipeline": graph.name, "nodes": nodes})
        return 0
    print("\n".join({"text": as_text, "mermaid": as_mermaid, "dot": as_dot}[options.format](graph)))
    return 0


def as_text(graph: Graph) -> Iterator[str]:
    """A line for each node, in the order of running: its kind and what feeds it."""
    width = max(len(name) for name in graph.nodes)
    kinds = max(len(node.kind.name) for node in graph.nodes.values())
    for node in graph.nodes.values():
        inputs = ", ".join(f"{port} ← {source}" for port, source in node.inputs.items())
        yield f"{node.name:<{width}}  {node.kind.name:<{kinds}}  {inputs}".rstrip()


def as_mermaid(graph: Graph) -> Iterator[str]:
    """Mermaid's flowchart language."""
    ids = {name: f"n{number}" for number, name in enumerate(graph.nodes)}
    yield "flowchart LR"
    for name, node in graph.nodes.items():
        yield f'    {ids[name]}["{name}<br/><small>{node.kind.name}</small>"]'
    for before, after, data in graph.digraph.edges(data=True):
        yield f"    {ids[before]} -->|{data['port']}| {ids[after]}"


def as_dot(graph: Graph) -> Iterator[str]:
    """Graphviz's language."""
    yield f'digraph "{graph.name}" {{'
    yield "  rankdir=LR; node [shape=box, style=rounded];"
    for name, node in graph.nodes.items():
        yield f'  "{name}" [label="{name}\\n{node.kind.name}"];'
    for before, after, data in graph.digraph.edges(data=True):
        yield f'  "{before}" -> "{after}" [label="{data["port"]}"];'
    yield "}"
