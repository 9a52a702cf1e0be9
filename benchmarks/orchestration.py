"""What orchestration costs: edgepipe beside DVC, Snakemake, doit, redun and ninja, in one run.

    python benchmarks/orchestration.py [--peers FOLDER] [--nodes 10 100 1000] [--rounds 7] [--json FILE]

A chain of N stages that each copy one small file (chains of 100 for Snakemake and redun, whose recursion
ends below 1000), with one stage beside it that copies a file of its own: the leaf that is edited. Figures
are user and system seconds of the processor, children included, medians of some rounds, as multiples of
``python -c pass`` in the same rounds: what else the machine does shifts both. The peers are installed
from the registry, each into an environment of its own below ``--peers``, the first time; ``--no-peers``
leaves them out.
DVC's first run grows with N²: beyond 100 stages, what it leaves is written for it.

Then the bars: what a no-op, a leaf, a node more, a plan of 10,000 nodes, a publication and a
restoration may cost at most, and what they do cost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from bars import Bar, of_chains, of_one_machine
from chains import MOST, compare, tools


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="their environments")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--all", action="store_true", help="slow peers at all sizes too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = tools(None if given.no_peers else given.peers.absolute())
    bars: list[Bar] = []
    root = Path(tempfile.mkdtemp(prefix="orchestration-"))
    rows: list[dict[str, object]] = []
    try:
        for nodes in given.nodes:
            chosen = [t for t in found if given.all or nodes <= MOST.get(t.name, nodes)]
            rows += compare(nodes, chosen, given.rounds, root)
        bars = [*of_chains(rows), *of_one_machine(found[0], given.rounds, root)]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(
        f"{'':<12}{'nodes':>7}{'no-op':>12}{'× python':>10}{'one leaf':>12}{'first run':>12}{'MB':>6}"
    )
    for row in rows:
        print(
            f"{row['tool']:<12}{row['nodes']:>7}{row['noop_s']:>10.4f} s"
            f"{row['noop_times_python']:>10.2f}{row['leaf_s']:>10.3f} s"
            f"{'-' if row['first_s'] is None else format(row['first_s'], '.2f') + ' s':>12}"
            f"{row['noop_memory_bytes'] / 1e6:>6.0f}"  # type: ignore[operator]
        )
    print(f"\n{'':<58}{'measured':>10}{'at most':>10}")
    for bar in bars:
        mark = "" if bar.held else "   NOT HELD"
        print(f"{bar.name:<58}{bar.value:>10.3g}{bar.most:>10.3g} {bar.unit}{mark}")
    if given.json:
        found_out = {"chains": rows, "bars": [bar.as_json() for bar in bars]}
        given.json.write_text(json.dumps(found_out, indent=1) + "\n")


if __name__ == "__main__":
    main()
