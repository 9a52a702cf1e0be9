"""Whether code may read again what it has loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.fingerprint import Fingerprints


@pytest.mark.parametrize(
    ("text", "rereads"),
    [
        ("import helper\nhelper.f()\n", False),
        ("import inspect, helper\ninspect.getsource(helper.f)\n", True),
        ("import importlib, helper\nimportlib.reload(helper)\n", True),
        ("import os, helper\nos.fork()\n", True),
        ("import helper\nfrom joblib import Parallel\n", True),
        ("import sys, helper\ndel sys.modules['helper']\n", True),
        ("import helper\nimport tensorflow as tf\n", True),
        ("import torch, helper\ntorch.jit.script(helper.f)\n", True),
        ("import helper\nimport multiprocessing\n", True),
        ("import subprocess\nimport helper\n", True),
        ("from pathlib import Path\nPath(__file__).with_name('helper.py').read_text()\n", True),
    ],
)
def test_whether_code_is_read_again(tmp_path: Path, text: str, rereads: bool) -> None:
    (tmp_path / "stage.py").write_text(text)
    (tmp_path / "helper.py").write_text("def f():\n    pass\n")
    found = Fingerprints([tmp_path]).reach(tmp_path / "stage.py", tmp_path)
    assert found.rereads is rereads
