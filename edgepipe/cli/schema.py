"""The JSON schema of pipelines, for editors: completion and checks while typing.

Put it beside a pipeline, and name it in the first line:
# yaml-language-server: $schema=pipeline.schema.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe.cli._common import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--project", type=Path, default=Path(), metavar="DIR", help="whose plug-ins count"
    )


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.kinds import Kinds
    from edgepipe.manual.schema import pipeline_schema
    from edgepipe.project import find

    print_json(pipeline_schema(Kinds(find(options.project).plugins)))
    return 0
