"""State of this machine of the right digest and another content: set aside, and nothing lost."""

import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from data_fixtures import fixture_images
from displays import Recorder
from mlflow import MlflowClient
from model_fixtures import NETWORK, Malicious

from mnist_ops import tracking
from mnist_ops.core import cancellation, keys, paths
from mnist_ops.core.errors import Stopped
from mnist_ops.core.paths import SET_ASIDE
from mnist_ops.data import split_of
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.fitting.determinism import reproducible
from mnist_ops.fitting.resnet import train
from mnist_ops.ops.doctor import Context
from mnist_ops.ops.doctor.fix_record import RECORD
from mnist_ops.ops.doctor.undo import undo_last
from mnist_ops.runner import engine
from mnist_ops.runner.settings import Settings
from mnist_ops.study.grids import Choices
from mnist_ops.study.results import EpochResult
from mnist_ops.tracking.journal import DAMAGED
from mnist_ops.tracking.leftover_journals import inspect
from pipelines import STUDIES

SPEC = dataclasses.replace(
    NETWORK, epochs=3, train_limit=48, test_limit=40, precision="float32", batch_size=16
)
STEPS = 4


def saved_after(spec: Any, path: Path, steps: int = STEPS) -> bytes:
    """The checkpoint, at `path`, of a training of `spec` that was stopped after `steps` steps."""
    left = iter(range(steps - 1))
    with pytest.raises(Stopped), reproducible(threads=1):
        train.fit(
            spec,
            fixture_images("MNIST"),
            checkpoint=Checkpoint(path, {"training": "a"}, 0),
            stop=lambda: next(left, None) is None,
        )
    return path.read_bytes()


def content_of(file: bytes) -> Any:
    return torch.load(io.BytesIO(file.partition(b"\n")[2]), weights_only=True)


def file_of(content: Any) -> bytes:
    """A checkpoint of the right digest, whatever it holds."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return head(buffer.getvalue()) + b"\n" + buffer.getvalue()


def head(body: bytes, **other: Any) -> bytes:
    digest = hashlib.sha256(body).hexdigest()
    return json.dumps(
        {"format": 2, "identity": {"training": "a"}, "sha256": digest} | other
    ).encode()


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return saved_after(SPEC, tmp_path_factory.mktemp("good") / "a.checkpoint")


def changed(**values: Any) -> Callable[[Any], Any]:
    def change(content: Any) -> Any:
        content["state"] |= values
        return content

    return change


def within(part: str, name: Any, value: Any) -> Callable[[Any], Any]:
    """Change one value of a part of the state."""

    def change(content: Any) -> Any:
        node = content["state"][part]
        if part == "optimizer":
            node = node["state"][0]
        key = next(iter(node)) if name is None else name
        if value is None:
            del node[key]
        else:
            node[key] = value(node[key]) if callable(value) else value
        return content

    return change


CONTENTS: dict[str, Callable[[Any], Any]] = {
    "another dict": lambda content: {"a": 1},
    "empty dict": lambda content: {},
    "list": lambda content: [1, 2],
    "number": lambda content: 5,
    "nothing": lambda content: None,
    "deep": lambda content: nested(300),
    "deep state": lambda content: content | {"state": nested(300)},
    "state of another form": lambda content: content | {"state": {"epoch": 1}},
    "no state": lambda content: {"identity": content["identity"]},
    "another identity": lambda content: content | {"identity": {"training": "b"}},
    "key missing": lambda content: (
        content | {"state": {k: v for k, v in content["state"].items() if k != "loss"}}
    ),
    "key too many": changed(more=1),
    "epoch negative": changed(epoch=-1),
    "epoch too large": changed(epoch=3),
    "epoch a text": changed(epoch="1"),
    "epoch a truth": changed(epoch=True),
    "epoch none": changed(epoch=None),
    "epoch huge": changed(epoch=10**30),
    "step too large": changed(step=99),
    "not begun": changed(epoch=0, step=0, seen=0, images_trained=0, history=[]),
    "seen wrong": changed(seen=7),
    "images wrong": changed(images_trained=7),
    "seconds negative": changed(seconds=-1.0),
    "seconds not a number": changed(seconds=math.nan),
    "loss of another shape": changed(loss=torch.zeros(3)),
    "loss of another type": changed(loss=torch.zeros((), dtype=torch.int64)),
    "order of another seed": changed(order=torch.Generator().manual_seed(9).get_state()),
    "order too short": changed(order=torch.zeros(3, dtype=torch.uint8)),
    "random numbers": changed(random={"cpu": torch.zeros(5056, dtype=torch.uint8)}),
    "history too short": changed(history=[]),
    "history of another form": changed(history=[{"a": 1}]),
    "network a list": changed(network=[]),
    "weight missing": within("network", None, None),
    "weight of another shape": within("network", None, torch.zeros(3)),
    "weight of another type": within("network", None, lambda w: w.double()),
    "weight not a number": within("network", None, lambda w: w * math.nan),
    "weight sparse": within("network", None, lambda w: w.to_sparse()),
    "optimizer empty": changed(optimizer={}),
    "optimizer of no weight": changed(optimizer={"state": {}, "param_groups": []}),
    "optimizer of more weights": changed(optimizer={"state": {0: {}, 1: {}}, "param_groups": []}),
    "moment missing": within("optimizer", "exp_avg", None),
    "moment of another shape": within("optimizer", "exp_avg", torch.zeros(3)),
    "moment infinite": within("optimizer", "exp_avg_sq", lambda m: m + math.inf),
    "steps of another training": within("optimizer", "step", torch.tensor(9.0)),
    "steps a list": within("optimizer", "step", [1]),
    "scaler of another form": changed(scaler={"scale": 1.0}),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_a_checkpoint_of_right_digest_and_other_content_is_set_aside(
    what: str, good: bytes, check: Callable[[Any], None], tmp_path: Path
) -> None:
    check_set_aside(file_of(CONTENTS[what](content_of(good))), tmp_path, check)


HEADS: dict[str, Callable[[bytes], bytes]] = {
    "deep": lambda body: b"[" * 100_000,
    "deep identity": lambda body: head(body, identity=0).replace(
        b'"identity": 0', b'"identity": ' + b"[" * 900 + b"]" * 900
    ),
    "list": lambda body: b"[1, 2, 3]",
    "number": lambda body: b"7",
    "digest a list": lambda body: head(body, sha256=[]),
    "format a dict": lambda body: head(body, format={}),
    "older format": lambda body: head(body, format=1),
    "no text": lambda body: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_of_another_form_is_set_aside(
    what: str, good: bytes, check: Callable[[Any], None], tmp_path: Path
) -> None:
    body = good.partition(b"\n")[2]
    check_set_aside(HEADS[what](body) + b"\n" + body, tmp_path, check)


@pytest.fixture(scope="module")
def check() -> Callable[[Any], None]:
    """A training of `SPEC`, made once for all that ask it whether a state fits."""
    images = fixture_images("MNIST")
    return train.Trainer(SPEC, images, split_of(SPEC, images)).check


def check_set_aside(file: bytes, folder: Path, check: Callable[[Any], None]) -> None:
    """The file is set aside, by a line, and no exception comes of it."""
    lines: list[str] = []
    kept = Checkpoint(folder / "a.checkpoint", {"training": "a"}, log=lines.append)
    kept.path.write_bytes(file)
    assert kept.load(check) is None
    (line,) = lines
    assert "checkpoint set aside (" in line
    assert kept.path.with_name(kept.path.name + SET_ASIDE).read_bytes() == file
    assert not kept.path.exists()


def test_a_training_whose_checkpoint_is_set_aside_begins_anew(good: bytes, tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "a.checkpoint", {"training": "a"})
    kept.path.write_bytes(file_of(changed(epoch=2)(content_of(good))))
    images = fixture_images("MNIST")
    with reproducible(threads=1):
        (again,) = train.fit(SPEC, images, checkpoint=kept).values()
        (whole,) = train.fit(SPEC, images).values()
    assert kept.path.with_name(kept.path.name + SET_ASIDE).exists()
    assert (again.predictions == whole.predictions).all()
    assert again.metrics[keys.TRAIN_LOSS] == whole.metrics[keys.TRAIN_LOSS]


@pytest.mark.parametrize(
    "change",
    [{"seed": 5}, {"batch_size": 24}, {"optimizer": "SGD"}],
    ids=str,
)
def test_the_state_of_another_training_is_set_aside(
    change: dict[str, Any], check: Callable[[Any], None], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = saved_after(dataclasses.replace(SPEC, **change), tmp_path / "other" / "a.checkpoint")
    check_set_aside(other, tmp_path, check)


def test_a_good_checkpoint_is_not_set_aside(good: bytes, tmp_path: Path) -> None:
    lines: list[str] = []
    kept = Checkpoint(tmp_path / "a.checkpoint", {"training": "a"}, log=lines.append)
    kept.path.write_bytes(file_of(content_of(good)))
    epochs: list[EpochResult] = []
    with reproducible(threads=1):
        train.fit(SPEC, fixture_images("MNIST"), epochs.append, checkpoint=kept)
    assert not lines
    # Those before it are told again: a run that has them passes over them.
    assert [epoch.number for epoch in epochs] == [1, 2, 3]


@pytest.mark.parametrize("place", ["folder", "link to nothing"])
def test_what_is_no_file_is_set_aside(place: str, tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint"
    if place == "folder":
        path.mkdir()
        (tmp_path / f"a.checkpoint{SET_ASIDE}").mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert Checkpoint(path, {"training": "a"}).load() is None
    assert not os.path.lexists(path)


def test_code_in_any_part_is_not_run(
    good: bytes, check: Callable[[Any], None], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    for part in ("epoch", "network", "optimizer", "random"):
        folder = tmp_path / part
        folder.mkdir()
        check_set_aside(file_of(changed(**{part: Malicious(ran)})(content_of(good))), folder, check)
    assert not ran.exists()


# Of the grid below.
RESNET = STUDIES["resnet_grid"].with_axes(
    {
        "dataset": ("MNIST",),
        "model": ("resnet18",),
        "optimizer": ("Adam",),
        "batch_size": (16,),
        "learning_rate": (0.001,),
        "epochs": (2, 3),
        "pin_memory": (False,),
    }
)


class Grids:
    """A grid in a store, cut after its first epoch or run to its end."""

    def __init__(self, client: MlflowClient):
        self.client = client
        self.display = Recorder()

    def run(self, *, cut_after: int | None = None) -> None:
        display = self.display = Recorder()
        settings = Settings(
            choices=Choices(train_limit=48, test_limit=40),
            device="cpu",
            workers=0,
            checkpoint_s=0,
        )
        told = display.progress

        def progress(progress: Any) -> None:
            told(progress)
            if progress.epoch == cut_after:
                cancellation.request()

        display.progress = progress  # type: ignore[method-assign]
        if cut_after is None:
            (report,) = engine.run([RESNET], settings, display)
            assert report.succeeded
        else:
            with pytest.raises(KeyboardInterrupt):
                engine.run([RESNET], settings, display)

    def results(self) -> dict[str, Any]:
        """Name of each cell -> what must not depend on how it came about."""
        runs = tracking.cell_runs(self.client)
        runs = runs[runs["status"] == "FINISHED"]
        assert not runs["fingerprint"].duplicated().any()
        found = {}
        for _, run in runs.iterrows():
            predictions = tracking.predictions(self.client, run["run_id"])
            assert predictions is not None
            found[run["fingerprint"]] = (
                predictions.predicted.tobytes(),
                run[keys.TEST_ACCURACY],
                tuple(tracking.history(self.client, run["run_id"], keys.TRAIN_LOSS)),
                tuple(tracking.history(self.client, run["run_id"], keys.VAL_ACCURACY)),
            )
        assert not self.client.search_runs(
            [e.experiment_id for e in self.client.search_experiments()],
            "attributes.status = 'RUNNING'",
        )
        return found


@pytest.fixture
def grids(small_data: Path, client: MlflowClient) -> Grids:
    return Grids(client)


def line(event: Any) -> bytes:
    text = event if isinstance(event, bytes) else json.dumps(event).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


JOURNALS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "list": lambda events: [*events, [1, 2]],
    "number": lambda events: [5],
    "deep": lambda events: [*events, b"[" * 100_000],
    "no JSON": lambda events: [*events, b"\xff"],
    "unknown kind": lambda events: [*events, {"kind": "x"}],
    "kind a list": lambda events: [*events, {"kind": ["open"]}],
    "opened twice": lambda events: [events[0], *events],
    "not opened": lambda events: events[1:],
    "no tags": lambda events: [{k: v for k, v in events[0].items() if k != "tags"}, *events[1:]],
    "tags a list": lambda events: [events[0] | {"tags": [1]}, *events[1:]],
    "time a text": lambda events: [*events, {"kind": "end", "status": "KILLED", "time": "now"}],
    "unknown status": lambda events: [*events, {"kind": "end", "status": "X", "time": 1}],
    "metric a text": lambda events: [
        *events,
        {"kind": "metrics", "time": 1, "step": 1, "values": {"a": "b"}},
    ],
    "metric too large": lambda events: [
        *events,
        {"kind": "metrics", "time": 1, "step": 1, "values": {"a": 10**400}},
    ],
    "file of another folder": lambda events: [*events, {"kind": "artifact", "file": "../../x"}],
    "file that is missing": lambda events: [*events, {"kind": "artifact", "file": "x.npz"}],
}


@pytest.mark.slow
def test_a_damaged_journal_costs_nothing_but_its_time(
    grids: Grids, tmp_path: Path, doctor: Any
) -> None:
    grids.run(cut_after=1)
    (folder,) = {*paths.state_dir().glob("*/journals")}
    journals = sorted(folder.iterdir())
    assert len(journals) == 2
    first = journals[0]
    content = (first / "journal.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    events = [json.loads(text.partition(b" ")[2]) for text in lines]
    forms = [b"".join(map(line, change(events))) for change in JOURNALS.values()]
    # One in the middle that no crash can have torn.
    forms.append(content.replace(b'"step":1', b'"step":7'))
    for form in forms:
        (first / "journal.jsonl").write_bytes(form)
        assert inspect(first).is_damaged, form
    assert str(first) in doctor.issues()["damaged-journal"].items
    for name, form in enumerate(forms):
        (folder / f"{name:016x}").mkdir()
        (folder / f"{name:016x}" / "journal.jsonl").write_bytes(form)
    (folder / "not a folder").write_bytes(b"")
    grids.run()
    told = [text for text in grids.display.lines if "journal was set aside" in text]
    assert len(told) == len(forms) + 1
    assert len(list(folder.glob(f"*{DAMAGED}"))) == len(forms) + 1
    cut = grids.results()
    assert len(cut) == 2
    assert cut == undisturbed(grids)


def undisturbed(grids: Grids) -> dict[str, Any]:
    """The results of the grid, computed again."""
    for run in tracking.cell_runs(grids.client)["run_id"]:
        grids.client.delete_run(run)
    grids.run()
    return grids.results()


@pytest.mark.slow
def test_a_journal_that_is_gone_leaves_no_gap_in_the_history(grids: Grids) -> None:
    grids.run(cut_after=2)
    (folder,) = {*paths.state_dir().glob("*/journals")}
    assert list(paths.state_dir().glob("*/checkpoints/*.checkpoint"))
    shutil.rmtree(folder)
    grids.run()
    found = grids.results()
    assert sorted(len(losses) for _, _, losses, _ in found.values()) == [2, 3]
    assert found == undisturbed(grids)


def test_a_record_of_fixes_of_another_form_is_passed_over(
    home: Path, store: str, doctor: Any
) -> None:
    fix = {"kind": "fix", "fix": "a", "time": "now", "store": store}
    change = {"kind": "change", "fix": "a", "type": "Move", "fields": {"source": "x"}}
    strange: list[Any] = [
        [],
        5,
        {},
        {"kind": []},
        {"kind": "fix"},
        change,
        {"kind": "did", "fix": "a"},
    ]
    strange += [change | {"type": "Touch"}, change | {"fields": []}, {"kind": "undone", "fix": []}]
    paths.state_dir().mkdir(exist_ok=True)
    (paths.state_dir() / RECORD).write_text("\n".join(map(json.dumps, [fix, *strange])))
    undone = undo_last(Context(tracking.default_uri()))
    assert undone is not None
    assert (undone.fix, undone.taken_back, undone.left) == ("a", [], [])
    assert undo_last(Context(tracking.default_uri())) is None
