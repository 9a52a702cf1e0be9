"""The laboratory: made once, its records published once; each test changes one thing in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from lab import Lab, forget


@pytest.fixture(scope="module")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    loaded = {n: m for n, m in sys.modules.items() if n.startswith("edgepipe_stages")}
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    lab = Lab(tmp_path_factory.mktemp("lab"))
    sys.path.insert(0, str(lab.root / "site"))
    sys.dont_write_bytecode = True
    forget()
    try:
        lab.publish()
        yield lab
    finally:
        forget()
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode
        sys.modules.update(loaded)
        forget()
        sys.modules.update(loaded)


@pytest.fixture
def lab(whole_lab: Lab) -> Iterator[Lab]:
    with whole_lab.restored():
        yield whole_lab
