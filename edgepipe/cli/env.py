"""Lock, build, list and remove the environments that stages run in.

An environment is configs/envs/NAME.toml in the project, or one that comes with a package of
stages. `lock` lets pip choose versions and writes NAME.lock beside it; `sync` builds what the lock
says, once for all projects; `rm` removes it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.cli._common import add_json, print_json
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.units import plural

if TYPE_CHECKING:
    from edgepipe.environments import Environment, Environments
    from edgepipe.project import Project


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="all environments: digest, built or not, size")
    locked = actions.add_parser("lock", help="choose versions, and write NAME.lock")
    locked.add_argument("names", nargs="+", metavar="NAME", help="or the path of a NAME.toml")
    synced = actions.add_parser("sync", help="build what is not built")
    synced.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="or a pipeline's file, for those that its nodes run in; default: the project's own",
    )
    removed = actions.add_parser("rm", help="remove built environments")
    removed.add_argument("names", nargs="+", metavar="NAME", help="a name, or a digest's beginning")
    for action in (locked, synced):
        action.add_argument("--python", type=Path, metavar="PATH", help="use this interpreter")
    for action in (listed, locked, synced, removed):
        action.add_argument(
            "--project", type=Path, default=Path(), metavar="DIR", help="whose environments count"
        )
        add_json(action)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.environments import Environments
    from edgepipe.kinds import packages
    from edgepipe.project import find

    project = find(options.project)
    known = Environments.of(project.root, packages())
    action = {"list": _list, "lock": _lock, "sync": _sync, "rm": _remove}[options.action]
    return action(options, project, known)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _list(options: argparse.Namespace, project: Project, known: Environments) -> int:
    rows = list(_rows(project, known))
    if options.json:
        print_json(rows)
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        digest = row["digest"] or "-"
        line = f"{row['name']:<{width}}  {digest:<32}  {row['state']:<10}  {_bytes(row['size']):>8}"
        print(f"{line}  {row['problem'] or row['description']}".rstrip())
    return 0


def _rows(project: Project, known: Environments) -> list[dict[str, Any]]:
    from edgepipe.environments import marker

    rows = []
    for environment in known.all():
        problem = environment.problem()
        usable = problem is None and environment.built(project.envs)
        about = marker(environment.folder(project.envs)) if usable else None
        rows.append(
            {
                "name": environment.name,
                "digest": environment.digest if environment.lock else None,
                "state": "no lock" if problem else "built" if usable else "not built",
                "size": about["size"] if about else None,
                "python": environment.python,
                "file": str(environment.path),
                "problem": problem.message if problem else "",
                "description": environment.description,
            }
        )
    own = {row["digest"] for row in rows}
    for folder in sorted(project.envs.iterdir()) if project.envs.is_dir() else ():
        if not folder.is_dir() or folder.name in own:
            continue
        about = marker(folder)
        rows.append(
            {
                "name": about["name"] if about else "?",
                "digest": folder.name,
                "state": "built" if about else "unfinished",
                "size": about["size"] if about else None,
                "python": about["python"] if about else "",
                "file": "",
                "problem": "",
                "description": "of another project, or of an earlier lock" if about else "",
            }
        )
    return rows


def _lock(options: argparse.Namespace, project: Project, known: Environments) -> int:
    from edgepipe.environments import locking

    made = []
    for name in options.names:
        environment, copied = _own(name, project, known)
        lock = locking.lock(environment, _tell, options.python)
        if copied is not None:
            shutil.copyfile(copied, environment.path)
        made.append(
            {
                "name": environment.name,
                "file": str(lock.path),
                "digest": lock.digest,
                "packages": {name: package.version for name, package in lock.packages.items()},
            }
        )
        if not options.json:
            said = plural(len(lock.packages), "package")
            print(f"locked {environment.name}: {said} in {lock.path}")
    if options.json:
        print_json(made)
    return 0


def _own(name: str, project: Project, known: Environments) -> tuple[Environment, Path | None]:
    """The environment to lock, and the file to copy into the project if it is not its own yet."""
    from edgepipe.environments import FOLDER, read

    if name.endswith(".toml"):
        return read(Path(name).absolute(), with_lock=False), None
    path, own = known.path(name), project.root / FOLDER / f"{name}.toml"
    environment = read(path, with_lock=False)
    if path == own:
        return environment, None
    return replace(environment, path=own), path


def _sync(options: argparse.Namespace, project: Project, known: Environments) -> int:
    from edgepipe.environments import building
    from edgepipe.units import seconds

    built = []
    for name in _wanted(options, project, known):
        environment = known.get(name)
        done = building.sync(environment, project.envs, _tell, options.python)
        built.append(
            {
                "name": name,
                "digest": environment.digest,
                "folder": str(done.folder),
                "size": done.size,
                "seconds": done.seconds,
                "status": "built" if done.seconds else "was built",
            }
        )
        if not options.json:
            took = f" in {seconds(done.seconds)}" if done.seconds else ""
            was = "built" if done.seconds else "is built already:"
            print(f"{name} {was}{took}, {_bytes(done.size)}, {done.folder}".replace(":,", ":"))
    if options.json:
        print_json(built)
    return 0


def _wanted(options: argparse.Namespace, project: Project, known: Environments) -> list[str]:
    """Names of the environments to build."""
    from edgepipe.cli._common import compile_pipeline
    from edgepipe.environments import FOLDER

    if not options.names:
        return [name for name, path in known.paths.items() if path.parent == project.root / FOLDER]
    names: list[str] = []
    for name in options.names:
        if not name.endswith((".yaml", ".yml")):
            names.append(name)
            continue
        arguments = argparse.Namespace(pipeline=Path(name), set=[], cache=None)
        nodes = compile_pipeline(arguments).graph.nodes.values()
        names += [node.environment.name for node in nodes if node.environment is not None]
    return list(dict.fromkeys(names))


def _remove(options: argparse.Namespace, project: Project, known: Environments) -> int:
    from edgepipe.environments import building

    there = (
        {p.name: p for p in project.envs.iterdir() if p.is_dir()} if project.envs.is_dir() else {}
    )
    removed: dict[str, Path] = {}
    for name in options.names:
        own = known.get(name) if name in known.paths else None
        if own is not None and own.lock is not None and own.digest in there:
            removed[own.digest] = there[own.digest]
            continue
        found = {digest: path for digest, path in there.items() if digest.startswith(name)}
        if len(found) != 1:
            message = f"no environment '{name}' is built"
            others = [other for other in (*known.paths, *there) if other != name]
            hint = did_you_mean(name, others, "environments")
            if name in known.paths:
                hint = "there is nothing to remove: edgepipe env list shows what is built"
            raise ConfigError(f"'{name}' is the beginning of several" if found else message, hint)
        removed |= found
    for folder in removed.values():
        building.remove(folder, _tell)
    if options.json:
        print_json({"removed": list(removed)})
    else:
        print("\n".join(f"removed {digest}" for digest in removed))
    return 0


def _bytes(size: int | None) -> str:
    from edgepipe.units import show

    return "" if size is None else show(size, "bytes")
