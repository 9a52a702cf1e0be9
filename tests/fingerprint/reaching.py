"""What a stage reaches among a few files."""

from __future__ import annotations

from pathlib import Path

from edgepipe.fingerprint import Fingerprints

TWO = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"
"""A file to reach."""


def reached(tmp_path: Path, files: dict[str, str]) -> set[str]:
    """What ``stage.py`` reaches among some files."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return set(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))
