"""Records and results that somebody made up, or that a fault made: a run makes them again."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from projects import Finished, Folder
from storing import put, wrong_names

from edgepipe.digest import canonical
from edgepipe.store import Output, Record, Store, model

PIPELINE = """\
edgepipe: 1
name: p
stages:
  first: {uses: numbers, with: {count: 5}}
  last: {uses: double, in: {values: first}}
"""


@pytest.fixture
def first(project: Folder) -> Record:
    """The record of a node that ran, and another after it."""
    project.write("p.yaml", PIPELINE)
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.code == 0, done.err
    record = Store(project.cache).record(done.json["nodes"][0]["key"])
    assert record is not None
    return record


def forge(project: Folder, record: Record, **fields: Any) -> None:
    """Write a record as it never comes about, with the right checksum."""
    body = json.dumps({**asdict(record), **fields}).encode()
    path = Store(project.cache).record_path(record.key)
    path.unlink()
    path.write_bytes(b"2 " + model._record_digest(b"2", body) + b"\n" + body)


def with_metrics(store: Store, record: Record, body: bytes) -> dict[str, Any]:
    """The outputs of a record, with these bytes for its metrics."""
    tree = put(store, {"metrics.json": body})
    outputs = {**record.outputs, "report": Output("Metrics", tree.digest, tree.size)}
    return asdict(replace(record, outputs=outputs))["outputs"]  # type: ignore[no-any-return]


def clean(done: Finished, code: int = 0) -> Finished:
    assert "Traceback" not in done.err + done.out
    assert done.code == code, done.err
    return done


def statuses(done: Finished) -> dict[str, str]:
    return {node["name"]: node["status"] for node in done.json["nodes"]}


def made(project: Folder, record: Record) -> Record:
    found = Store(project.cache).record(record.key)
    assert found is not None
    return found


METRICS = {
    "a list": b"[1, 2]",
    "no JSON": b"{",
    "nothing": b"",
    "no text": b"\xff\xfe",
    "nested too deep": b'{"x": ' + b"[" * 900 + b"]" * 900 + b"}",
    "nested without end": b"[" * 100_000,
    "not finite": b'{"total": NaN}',
    "no name": b'{"to\\ntal": 1}',
    "no Unicode": b'{"text": "\\ud800"}',
}


@pytest.mark.parametrize("body", METRICS.values(), ids=METRICS)
def test_metrics_that_are_none_are_made_again(project: Folder, first: Record, body: bytes) -> None:
    store = Store(project.cache)
    forge(project, first, outputs=with_metrics(store, first, body))
    done = clean(project.edgepipe("run", "p.yaml", "--json"))
    assert statuses(done) == {"first": "ran", "last": "cached"}
    (warning,) = done.json["warnings"]
    assert f"the result {first.key[:12]} of first is damaged" in warning["message"]
    assert made(project, first).outputs == first.outputs
    assert statuses(clean(project.edgepipe("run", "p.yaml", "--json")))["first"] == "cached"


@pytest.mark.parametrize("outputs", [{}, "fewer", "more"], ids=str)
def test_a_record_without_the_outputs_of_its_stage_is_no_hit(
    project: Folder, first: Record, outputs: Any
) -> None:
    whole = asdict(first)["outputs"]
    if outputs == "fewer":
        outputs = {"report": whole["report"]}
    elif outputs == "more":
        outputs = {**whole, "more": whole["report"]}
    forge(project, first, outputs=outputs)
    why = clean(project.edgepipe("why", "p.yaml", "first"))
    assert f"the result {first.key[:12]} of first is damaged" in why.out
    rows = clean(project.edgepipe("plan", "p.yaml", "--json")).json["nodes"]
    assert rows[0]["reason"] == "it ran, and its result was damaged: it was put away"
    assert statuses(clean(project.edgepipe("run", "p.yaml", "--json")))["first"] == "ran"
    assert made(project, first).outputs == first.outputs


@pytest.mark.parametrize("field", ["created", "made_of", "kind", "deep"])
def test_a_record_that_cannot_be_is_damaged(project: Folder, first: Record, field: str) -> None:
    if field == "deep":
        forge(project, first, made_of={"params": json.loads("[" * 900 + "]" * 900)})
    else:
        value = {"created": 1e300, "made_of": {"inputs": [1]}, "kind": "\x1b[2J"}[field]
        forge(project, first, **{field: value})
    for verb in (["why", "p.yaml", "first"], ["plan", "p.yaml"], ["cache", "ls"], ["cache", "du"]):
        clean(project.edgepipe(*verb))
    found = clean(project.edgepipe("cache", "verify"), 5)
    assert f"damaged record {first.key[:12]}" in found.out
    clean(project.edgepipe("cache", "verify", "--repair"))
    assert statuses(clean(project.edgepipe("run", "p.yaml", "--json")))["first"] == "ran"
    assert made(project, first).outputs == first.outputs
    clean(project.edgepipe("cache", "verify"))


@pytest.mark.parametrize("path", ["\ud800x", "../x", "a//b", "a\0b"])
def test_a_tree_that_cannot_be_is_damaged(project: Folder, first: Record, path: str) -> None:
    store = Store(project.cache)
    (file,) = put(store, {"a": b"1"}).files
    body = canonical([{"path": path, "digest": file.digest, "size": 1}])
    digest = model.tree_digest(body)
    store.objects.put_body(digest, body, tree=True)
    outputs = asdict(first)["outputs"]
    forge(project, first, outputs={**outputs, "values": {**outputs["values"], "tree": digest}})
    for verb in (["why", "p.yaml", "first"], ["plan", "p.yaml"], ["cache", "ls"], ["cache", "du"]):
        clean(project.edgepipe(*verb))
    assert f"damaged object {digest[:12]}" in clean(project.edgepipe("cache", "verify"), 5).out
    clean(project.edgepipe("cache", "verify", "--repair"))
    assert statuses(clean(project.edgepipe("run", "p.yaml", "--json")))["first"] == "ran"
    assert wrong_names(project.cache) == []
    clean(project.edgepipe("cache", "verify"))


@pytest.mark.parametrize("how", ["outputs", "metrics"])
def test_what_the_team_has_and_no_node_could_use_is_replaced(
    project: Folder, first: Record, tmp_path: Path, how: str
) -> None:
    """Nothing is wrong with such a record for whoever does not know the node."""
    team = tmp_path / "team"
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    store = Store(project.cache)
    outputs = {} if how == "outputs" else with_metrics(store, first, b"[1, 2]")
    forge(project, first, outputs=outputs)
    clean(project.edgepipe("cache", "push"))
    shutil.rmtree(project.cache)
    shutil.rmtree(project.path / ".edgepipe")
    clean(project.edgepipe("why", "p.yaml", "first"))
    clean(project.edgepipe("plan", "p.yaml"))
    pulled = clean(project.edgepipe("cache", "pull", "p.yaml", "--cache", tmp_path / "pulled"))
    assert pulled.out.startswith("0 pulled" if how == "outputs" else "2 pulled")
    done = clean(project.edgepipe("run", "p.yaml", "--json"))
    assert statuses(done) == {"first": "ran", "last": "cached"}
    shutil.rmtree(project.cache)
    shutil.rmtree(project.path / ".edgepipe")
    again = clean(project.edgepipe("run", "p.yaml", "--json"))
    assert statuses(again) == {"first": "cached", "last": "cached"}
    assert again.json["warnings"] == []
    assert team.is_dir()


def test_what_a_record_says_it_was_made_of_does_not_steer_a_terminal(
    project: Folder, first: Record
) -> None:
    steering = "\x1b[2J\n\u202e"
    manifest = Store(project.cache).put_bytes(
        canonical({f"{steering}:f": "1", f"{steering}:g": "2"})
    )
    forge(
        project,
        first,
        made_of={"kind": {steering: 1}, "requires": {"torch": steering}, "code": "1"},
        manifests={"code": manifest},
    )
    project.write("p.yaml", PIPELINE.replace("count: 5", "count: 6"))
    for verb in (["plan", "p.yaml"], ["why", "p.yaml", "first"]):
        said = clean(project.edgepipe(*verb)).out
        assert "\\x1b[2J\\n\\u202e" in said
        assert not {"\x1b", "\u202e"} & set(said)
