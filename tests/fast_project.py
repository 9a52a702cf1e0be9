"""The project whose parts `fast_edits` changes, and the files that come and go in it."""

from __future__ import annotations

TABLES = '''\
import json
from pathlib import Path

from _linked import FACTOR

from edgepipe.stage import Context, Metric, Metrics, Stage


class Tables(Stage):
    """Adds up tables that lie beside it."""

    outputs = {"report": Metrics}
    metrics = {"total": Metric("number", "of all")}

    def run(self, ctx: Context) -> None:
        files = sorted((Path(__file__).parent / "_tables").glob("*.json"))
        ctx.save("report", {"total": FACTOR * sum(json.loads(f.read_text()) for f in files)})
'''
USES = '''\
from pathlib import Path

from _mixing import Value, mixed, texts
from fakemod import NUMBER

from edgepipe.stage import Context, Stage, UserCode, UserPath


class Uses(Stage):
    """Depends on the user's code, on data behind a link, and on distributions."""

    outputs = {"out": Value}
    requires = ("fakedist", "eggdist")

    code: UserCode
    path: UserPath

    def run(self, ctx: Context) -> None:
        ctx.save("out", mixed(NUMBER, ctx.user_object(self.code)(), *texts(self.path)))
'''
USER = """\
from pathlib import Path

from lib import helper


def make():
    tables = sorted((Path(__file__).parent / "tables" / "deep").glob("*.txt"))
    return helper.NUMBER, [table.read_text() for table in tables]
"""
PIPELINE = """\
edgepipe: 1
name: q
vars: {least: 1}
stages:
  tables: {uses: family.tables}
  uses: {uses: uses, with: {code: "lib/user.py:make", path: data/link}}
gates: ["tables.total >= ${least}"]
"""
FILES = {
    "edgepipe.toml": "",
    "q.yaml": PIPELINE,
    "plugins/family/tables.py": TABLES,
    "plugins/family/_tables/1.json": "1",
    "plugins/uses.py": USES,
    "lib/user.py": USER,
    "lib/helper.py": "NUMBER = 1\n",
    "lib/tables/deep/1.txt": "1",
    "data/v1/a": "1",
    "data/v2/a": "1",
    "data/v2/b": "2",
    "linked/one.py": "FACTOR = 1\n",
    "linked/two.py": "FACTOR = 2\n",
    "../site/fakemod.py": "NUMBER = 1\n",
    "../site/fakedist-1.0.dist-info/METADATA": "Name: fakedist\nVersion: 1.0\n",
    "../develop/eggdist.egg-info/PKG-INFO": "Name: eggdist\nVersion: 1.0\n",
}
NEW = {
    "plugins/_constants/__init__.py": "raise ImportError\n",
    "plugins/_linked/__init__.py": "FACTOR = 3\n",
    "plugins/family/_tables/2.json": "2",
    "plugins/family/_tables/.json": "2",
    "plugins/family/mix.py": "",
    "plugins/source/nothing.txt": "",
    "plugins/numbers.py": "",
    "plugins/.hidden.py": "",
    "lib/__init__.py": "",
    "lib/helper/__init__.py": "NUMBER = 2\n",
    "lib/tables/deep/2.txt": "2",
    "lib/tables/other.txt": "2",
    "calc/__init__.py": "NUMBER = 5\n",
    "_mixing.py": "",
    "_linked.py": "FACTOR = 4\n",
    "fakemod.py": "NUMBER = 2\n",
    "data/v1/.hidden": "1",
    "data/v2/deep/c": "3",
    "data/many/new": "3",
    "configs/envs/new.yaml": "",
    ".git/HEAD": "",
    "pyproject.toml": "",
    "../pyproject.toml": "",
    "../../edgepipe.toml": "",
    "../site/fakedist-2.0.dist-info/METADATA": "Name: fakedist\nVersion: 2.0\n",
    "../develop/fakemod.py": "NUMBER = 3\n",
    "../develop/fakedist-3.0.dist-info/METADATA": "Name: fakedist\nVersion: 3.0\n",
    "../site/fakemod/__init__.py": "NUMBER = 4\n",
}
"""Files that come and go."""
