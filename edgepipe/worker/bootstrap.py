"""Starts a worker in another environment's interpreter; run as a script, by its path.

That interpreter has its own packages and the standard library. Of ours it gets exactly edgepipe
and the packages of the stages that it runs, found by their folders: the folder that holds them may
be a whole ``site-packages`` whose other packages are of another world.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType


class OwnPackages(MetaPathFinder):
    """Finds packages by their folders, and nothing else that is beside them."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = self.folders.get(fullname)
        if folder is None:
            return None
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def main(descriptor: int) -> None:
    """Run a worker; see `edgepipe.worker.main`."""
    packages = OwnPackages()
    packages.folders["edgepipe"] = Path(__file__).parent.parent
    sys.meta_path.insert(0, packages)
    from edgepipe import worker

    worker.main(descriptor, packages.folders)


if __name__ == "__main__":
    main(int(sys.argv[1]))
