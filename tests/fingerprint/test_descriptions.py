"""Texts that describe parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepipe.fingerprint import Fingerprints

STAGE = """
from {module} import Field, Stage


class A(Stage):
    number: int = Field({default}, description="{text}"{more})

    def run(self, ctx):
        return {use}
"""


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, False),
        ({"module": "pydantic"}, False),
        ({"module": "elsewhere"}, True),
        ({"use": 'type(self).model_fields["number"].description'}, True),
        ({"use": 'type(self).model_fields["number"].default'}, False),
        ({"use": "self.model_json_schema()"}, True),
        ({"more": ", ge=0"}, False),
    ],
)
def test_a_description_counts_only_where_it_is_read(
    tmp_path: Path, given: dict[str, str], counts: bool
) -> None:
    def code(text: str, **more: str) -> dict[str, str]:
        values = {"module": "edgepipe.stage", "default": "1", "more": "", "use": "1"}
        (tmp_path / "stage.py").write_text(STAGE.format(**{**values, **given, **more}, text=text))
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert (code("one text") != code("another")) is counts
    assert code("one text") != code("one text", default="2")


@pytest.mark.parametrize(
    ("use", "counts"),
    [
        ("field.description", True),
        ("getattr(field, 'description')", True),
        ("field.default", False),
    ],
)
def test_a_description_counts_where_a_helper_reads_it(
    tmp_path: Path, use: str, counts: bool
) -> None:
    def code(text: str) -> dict[str, str]:
        (tmp_path / "helper.py").write_text(f"def told(field):\n    return {use}\n")
        told = 'told(type(self).model_fields["number"])'
        stage = STAGE.format(module="pydantic", default="1", more="", use=told, text=text)
        (tmp_path / "stage.py").write_text(f"from helper import told\n{stage}")
        return dict(Fingerprints([tmp_path]).of(tmp_path / "stage.py", tmp_path))

    assert (code("one text") != code("another")) is counts
