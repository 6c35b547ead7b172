"""Export files that nobody wrote in good faith: refused in one line, and the store as it was."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import forging
import numpy as np
import pytest
import tracked_runs
from mlflow import MlflowClient
from transfer_fixtures import call, refused

from mnist_ops.tracking.exchange import archive

# Each forger gets the content of a good file, and gives another.


def with_line(parts: dict[str, bytes], change: Callable[[dict], None]) -> bytes:
    """The archive with its first run changed, and written as this program writes it."""
    lines = parts["runs.jsonl"].splitlines(keepends=True)
    fields = json.loads(lines[0])
    change(fields)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return forging.packed(parts | {"runs.jsonl": text.encode() + b"\n" + b"".join(lines[1:])})


def set_tag(name: str, value: object) -> Callable[[dict], None]:
    return lambda run: run["tags"].update({name: value})


def set_metric(points: object) -> Callable[[dict], None]:
    return lambda run: run["metrics"].update(test_accuracy=points)


FORGED_RUNS: dict[str, Callable[[dict], None]] = {
    "a parent of its own": set_tag("mlflow.parentRunId", "0" * 32),
    "a name that is a path": lambda run: run["params"].update({"../../etc/passwd": "x"}),
    "an absolute name": lambda run: run["metrics"].update({"/etc": [[0, 0, 1.0]]}),
    "a terminal's escapes": set_tag("note", "\x1b]0;owned\x07"),
    "a password": set_tag("note", "http://me:secret@host"),
    "a tag that is no text": set_tag("note", {"a": 1}),
    "a tag without end": set_tag("note", "x" * 8001),
    "an accuracy of 2": set_metric([[0, 0, 2.0]]),
    "an accuracy that is text": set_metric([[0, 0, "1"]]),
    "an accuracy without points": set_metric([]),
    "points out of order": set_metric([[2, 0, 0.5], [1, 0, 0.5]]),
    "a step beyond 64 bits": set_metric([[2**70, 0, 0.5]]),
    "a time beyond the calendar": lambda run: run.update(end_time=10**18),
    "an end before its start": lambda run: run.update(end_time=0),
    "a field more": lambda run: run.update(artifact_uri="file:///etc"),
    "another fingerprint in its tags": set_tag("mnist_ops.fingerprint", "b" * 16),
    "another cell's fingerprint": lambda run: (
        run.update(fingerprint="0" * 16),
        set_tag("mnist_ops.fingerprint", "0" * 16)(run),
    ),
    "a fingerprint without a spec": lambda run: (
        run["tags"].pop("mnist_ops.spec"),
        run["params"].update(seed="77"),
    ),
    "a param that contradicts its spec": lambda run: run["params"].update(seed="77"),
    "a number of images that is none": lambda run: run["params"].update(n_test="1e99"),
    "a test set that is not there": lambda run: run.update(test_set="0" * 16),
    "too many params": lambda run: run["params"].update({f"p{n}": "" for n in range(1001)}),
}


@pytest.fixture
def exported(home: Path, export_file: Path) -> Path:
    return Path(shutil.copy(export_file, home))


@pytest.mark.parametrize("name", FORGED_RUNS)
def test_forged_run_is_refused(
    name: str, exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    forged = with_line(forging.members(exported), FORGED_RUNS[name])
    check_refused(forged, elsewhere, "damaged or altered")


def npy(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def first(parts: dict[str, bytes], part: str) -> str:
    return next(name for name in parts if name.endswith(f"{part}.npy"))


def renamed(parts: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {name if old == first(parts, "label") else old: new for old, new in parts.items()}


FORGED_FILES: dict[str, tuple[Callable[[bytes, dict[str, bytes]], bytes], str]] = {
    "empty": (lambda good, parts: b"", "not an export"),
    "of another program": (lambda good, parts: b"PK\x03\x04 my thesis" * 100, "truncated"),
    "text": (lambda good, parts: b"my thesis" * 100, "not an export"),
    "half": (lambda good, parts: good[: len(good) // 2], "truncated"),
    "without its last byte": (lambda good, parts: good[:-1], "truncated"),
    "with a byte more": (lambda good, parts: good + b"\0", "truncated"),
    "with a byte flipped": (
        lambda good, parts: good[:200] + bytes([good[200] ^ 1]) + good[201:],
        "altered",
    ),
    "of a future version": (
        lambda good, parts: forging.packed(
            parts | {"manifest.json": b'{"format":"mnist-ops-export","version":2,"new":[]}'}
        ),
        "newer mnist-ops (format 2",
    ),
    "a bomb": (
        lambda good, parts: forging.packed(
            {"zeros": b"\0" * 50_000_000} | parts, compression=zipfile.ZIP_DEFLATED
        ),
        "compressed",
    ),
    "with a member more": (
        lambda good, parts: forging.packed(parts | {"../../evil": b"x"}),
        "other members",
    ),
    "with a path as a name": (
        lambda good, parts: forging.packed(renamed(parts, "test-sets/../../evil/label.npy")),
        "other members",
    ),
    "without runs": (
        lambda good, parts: forging.packed({n: c for n, c in parts.items() if n != "runs.jsonl"}),
        "other members",
    ),
    "with a run less than it says": (
        lambda good, parts: forging.packed(
            parts | {"runs.jsonl": b"".join(parts["runs.jsonl"].splitlines(True)[:2])}
        ),
        "",
    ),
    "with a run twice": (
        lambda good, parts: forging.packed(
            parts | {"runs.jsonl": parts["runs.jsonl"].splitlines(True)[0] * 3}
        ),
        "duplicate",
    ),
    "with deep nesting": (
        lambda good, parts: forging.packed(parts | {"runs.jsonl": b"[" * 100_000}),
        "altered",
    ),
    "with a manifest that lies": (
        lambda good, parts: forging.packed(
            parts | {"manifest.json": parts["manifest.json"].replace(b'"runs":3', b'"runs":4')}
        ),
        "other runs",
    ),
    "with a manifest of nothing": (
        lambda good, parts: forging.packed(parts | {"manifest.json": b"[]"}),
        "not an export",
    ),
    "with a manifest of other types": (
        lambda good, parts: forging.packed(
            parts | {"manifest.json": b'{"format":"mnist-ops-export","version":1}\n'}
        ),
        "altered",
    ),
    "with a pickle": (
        lambda good, parts: forging.packed(parts | {first(parts, "label"): npy(np.array([print]))}),
        "another form",
    ),
    "with an array that says it is huge": (
        lambda good, parts: forging.packed(
            parts
            | {
                first(parts, "label"): parts[first(parts, "label")].replace(
                    b"(40,)", b"(4000000000000,)"
                )
            }
        ),
        "another form",
    ),
    "with predictions of class 10": (
        lambda good, parts: forging.packed(
            parts
            | {
                first(parts, "predicted"): parts[first(parts, "predicted")][:-1] + b"\x0a",
            }
        ),
        "out of range",
    ),
    "with labels of another test set": (
        lambda good, parts: forging.packed(
            parts | {first(parts, "label"): npy(np.ones(tracked_runs.N_TEST, np.uint8))}
        ),
        "wrong name",
    ),
    "with predictions of one image too few": (
        lambda good, parts: forging.packed(
            parts | {first(parts, "predicted"): parts[first(parts, "predicted")][:-1]}
        ),
        "",
    ),
}


@pytest.mark.parametrize("name", FORGED_FILES)
def test_forged_file_is_refused(
    name: str, exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    forge, told = FORGED_FILES[name]
    check_refused(forge(exported.read_bytes(), forging.members(exported)), elsewhere, told)


def check_refused(forged: bytes, elsewhere: Callable[[str], MlflowClient], told: str) -> None:
    """One line, exit code 2, and a store that nobody touched."""
    elsewhere("other")
    Path("forged.zip").write_bytes(forged)
    before = Path("mlflow.db").read_bytes()
    assert told in refused(call("import", "forged.zip"))
    assert Path("mlflow.db").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["forged.zip", "mlflow.db"]


def test_forging_keeps_what_is_good(
    exported: Path, elsewhere: Callable[[str], MlflowClient]
) -> None:
    """The forger's tools alone do not make a file bad."""
    elsewhere("other")
    Path("same.zip").write_bytes(with_line(forging.members(exported), lambda run: None))
    assert "3 runs imported" in call("import", "same.zip").stdout


def test_sizes_are_limited(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", exported.stat().st_size - 1)
    assert "too large" in refused(call("import", str(exported)))
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_RUNS", 2)
    assert "too many runs" in refused(call("import", str(exported)))
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 10)
    assert "too many members" in refused(call("import", str(exported)))
