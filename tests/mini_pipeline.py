"""A small pipeline, for the verbs."""

from __future__ import annotations

from projects import Finished, Folder

PIPELINE = """
edgepipe: 1
name: mini
vars: {n: 3}
stages:
  numbers: {uses: numbers, with: {count: "${n}"}}
  double: {uses: double, in: {values: numbers}, matrix: {factor: [2, 3]}}
  total: {uses: total, in: {left: double, right: numbers}}
gates:
  - total.total > 5
"""


def export(mini: Folder, *arguments: object) -> Finished:
    return mini.edgepipe("export", *arguments)
