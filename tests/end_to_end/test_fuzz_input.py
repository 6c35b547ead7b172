"""Input that nobody should give, by the hundreds: no traceback, no hang, nothing lost.

Each case follows from the seed and its number alone; what fails is named by both. The files are
real ones, mutated as bytes, and exports also value by value with a digest that is right again.
"""

import itertools
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import forging
import numpy as np
import pytest
import torch
import tracked_runs
from click.testing import CliRunner
from data_fixtures import fixture_images
from model_fixtures import SVM, write_model
from mutations import STRANGE, mutated
from PIL import Image

from mnist_ops.cli import main
from mnist_ops.core import keys
from mnist_ops.core.paths import SET_ASIDE
from mnist_ops.fitting.checkpoints import Checkpoint
from mnist_ops.serving.inference import Classifier, ModelRefused, preprocessing

# A case that hangs ends the test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20_261_124
CASES = {
    "data files": 150,
    "checkpoints": 150,
    "export files": 250,
    "images": 150,
    "model files": 100,
    "flags": 200,
}

# What may stand where a number, a name, a path or a list is expected.
RUN_OPTIONS = [
    *("--preset", "--datasets", "--seeds", "--set", "--train-limit", "--test-limit", "--amp"),
    *("--device", "--workers", "--scheduler", "--svm-memory", "--experiment"),
]
USUAL = [
    "quick",
    "paper",
    "MNIST",
    "0",
    "0,1",
    "100",
    "0.5",
    "cpu",
    "auto",
    "bfloat16",
    "2",
    "none",
]
AXES = ["epochs", "batch_size", "learning_rate", "optimizer", "model", "C", "gamma", "kernel", "x"]


def ended(*arguments: str, codes: tuple[int, ...] = (0, 1, 2)) -> int:
    """The exit code of a command that must end well, or in lines that tell why."""
    result = CliRunner().invoke(main, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    assert result.exit_code in codes, result.output
    if result.exit_code:
        assert result.stderr.strip()
    return result.exit_code


def refused(error: Exception) -> str:
    """Return the line with which a case was refused."""
    assert "\n" not in str(error)
    return "refused"


def cases(what: str) -> Iterator[tuple[int, random.Random]]:
    """The cases' numbers, each with a source of chance of its own."""
    for number in range(CASES[what]):
        yield number, random.Random(f"{SEED} {what} {number}")


def run_cases(
    what: str, case: Callable[[random.Random], str], capsys: pytest.CaptureFixture[str]
) -> Counter[str]:
    """Run all cases of a kind; how often each end was met, printed too."""
    ends: Counter[str] = Counter()
    for number, chance in cases(what):
        try:
            ends[case(chance)] += 1
        except Exception as error:
            raise AssertionError(f"{what}, case {number} of seed {SEED}: {error!r}") from error
    with capsys.disabled():
        counted = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
        print(f"\n{ends.total()} mutated {what}: {counted}")
    return ends


def test_data_files(small_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_data / "MNIST" / "raw"
    good = {path: path.read_bytes() for path in folder.iterdir()}

    def case(chance: random.Random) -> str:
        path = chance.choice(sorted(good))
        bad = mutated(good[path], chance)
        path.write_bytes(bad)
        code = ended("data", "MNIST", "--check")
        assert code == (0 if bad == good[path] else 1)
        # Looking changes nothing.
        assert path.read_bytes() == bad
        path.write_bytes(good[path])
        return "refused" if code else "unchanged"

    assert run_cases("data files", case, capsys)["refused"] > 100
    assert ended("data", "MNIST", "--check") == 0


def test_checkpoints(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "a.checkpoint"
    identity = {"training": "a", "torch": "b"}
    state = {"weights": {"w": torch.arange(100.0)}, "epoch": 3, "order": "abc"}
    Checkpoint(path, identity).save(state)
    good = path.read_bytes()

    def case(chance: random.Random) -> str:
        bad = mutated(good, chance)
        path.write_bytes(bad)
        told: list[str] = []
        loaded = Checkpoint(path, identity, log=told.append).load()
        if loaded is not None:
            assert loaded["weights"]["w"].equal(state["weights"]["w"])
            return "unchanged"
        (line,) = told
        assert "set aside" in line
        aside = path.with_name(path.name + SET_ASIDE)
        assert aside.read_bytes() == bad
        return "set aside"

    assert run_cases("checkpoints", case, capsys)["set aside"] > 100


@pytest.fixture
def exported(home: Path) -> Path:
    with tracked_runs.grid() as grid:
        for number in range(3):
            run_id = grid.write(number, wrong=number)
        grid.tracker.client.set_tag(run_id, "note", "two\nlines")
        grid.run.note({keys.NOT_MEASURED: json.dumps({"a" * 16: "no device"})})
    assert ended("export", "good.zip") == 0
    return home / "good.zip"


def strange_value(chance: random.Random) -> object:
    numbers = [0, -1, 1, 2**63, 10**400, 0.5, -0.0, 1e308, True, False, None]
    nested: list[object] = [[], {}, [[]], {"a": {}}, ["a"] * 3]
    text = [text for text in STRANGE if "\udcff" not in text]
    return chance.choice([*numbers, *nested, *text])


def with_strange_value(node: object, chance: random.Random) -> object:
    """`node` with one value in it, somewhere, that is another."""
    if isinstance(node, dict) and node and chance.random() < 0.9:
        key = chance.choice(sorted(node))
        match chance.randrange(6):
            case 0:
                return {k: v for k, v in node.items() if k != key}
            case 1:
                return {k: v for k, v in node.items() if k != key} | {
                    str(strange_value(chance)): node[key]
                }
            case _:
                return node | {key: with_strange_value(node[key], chance)}
    if isinstance(node, list) and node and chance.random() < 0.9:
        at = chance.randrange(len(node))
        return [*node[:at], with_strange_value(node[at], chance), *node[at + 1 :]]
    return strange_value(chance)


def forged(parts: dict[str, bytes], chance: random.Random) -> bytes:
    """An archive with one value changed, by somebody who knows how to seal it."""
    name = chance.choice(sorted(parts))
    if not name.endswith(".npy") and chance.random() < 0.8:
        lines = parts[name].splitlines(keepends=True)
        at = chance.randrange(len(lines))
        fields = with_strange_value(json.loads(lines[at]), chance)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        content = b"".join([*lines[:at], text.encode() + b"\n", *lines[at + 1 :]])
    else:
        content = mutated(parts[name], chance)
    return forging.packed(parts | {name: content})


def test_export_files(
    exported: Path, home: Path, empty_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, parts = exported.read_bytes(), forging.members(exported)
    untouched = empty_store.read_bytes()
    stores = itertools.count()

    def fresh_store() -> None:
        # Another place each: MLflow keeps connections to the database that was at a path.
        folder = home / f"store-{next(stores)}"
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        os.chdir(folder)

    fresh_store()

    def case(chance: random.Random) -> str:
        sealed = chance.random() < 0.6
        bad = forged(parts, chance) if sealed else mutated(good, chance)
        Path("bad.zip").write_bytes(bad)
        if ended("import", "bad.zip", codes=(0, 2)) == 2:
            assert Path("mlflow.db").read_bytes() == untouched
            assert sorted(p.name for p in Path().iterdir()) == ["bad.zip", "mlflow.db"]
            return "refused"
        # Let in, as a name or a number may be another: then it is in, whole, and comes out again.
        assert sealed or bad == good
        assert ended("export", "out.zip") == 0
        assert forging.members(Path("out.zip")) == forging.members(Path("bad.zip"))
        fresh_store()
        return "imported whole"

    assert run_cases("export files", case, capsys)["refused"] > 150


def test_images(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digit = Image.fromarray(fixture_images("MNIST").images[0])
    good = {}
    for suffix in ("png", "jpg", "gif", "bmp", "tiff", "webp"):
        path = home / f"good.{suffix}"
        digit.resize((64, 64)).save(path)
        good[suffix] = path.read_bytes()

    def case(chance: random.Random) -> str:
        suffix = chance.choice(sorted(good))
        path = home / f"bad.{suffix}"
        path.write_bytes(mutated(good[suffix], chance))
        try:
            pixels = preprocessing.read(path, "MNIST").pixels
        except preprocessing.UnreadableImage as error:
            return refused(error)
        assert pixels.shape == (28, 28)
        assert pixels.dtype == np.uint8
        return "read"

    ends = run_cases("images", case, capsys)
    assert min(ends["refused"], ends["read"]) > 10


def test_model_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(SVM, home)
    images = fixture_images("MNIST").images[:5]
    good = {path: path.read_bytes() for path in folder.iterdir()}
    # What is not loaded to answer, but read beside it.
    good = {path: content for path, content in good.items() if "predictions" not in path.name}

    def case(chance: random.Random) -> str:
        path = chance.choice(sorted(good))
        path.write_bytes(mutated(good[path], chance))
        try:
            answers = Classifier.load(folder).answer(images)
        except ModelRefused as error:
            return refused(error)
        finally:
            path.write_bytes(good[path])
        # A number is another: nobody can tell, but it is still one.
        assert answers.probabilities.shape == (5, 10)
        return "answered"

    assert run_cases("model files", case, capsys)["refused"] > 50


def flags(chance: random.Random) -> list[str]:
    """A command that ends at once, whatever its flags."""
    match chance.randrange(5):
        case 0:
            # Without a password it never starts.
            options = ["--host", "--port", "--backend-store-uri", "--allowed-hosts", "--tls-cert"]
            return ["server", "--auth", chance.choice(options), chance.choice(STRANGE)]
        case 1:
            command = chance.choice(["summarize", "export", "import", "data", "sync", "predict"])
            return [command, *chance.choices([*STRANGE, "--json", "--check"], k=2)]
        case _:
            studies = ["all", "svm_grid", "resnet_grid", "device_compare"] * 10
            given = ["run", chance.choice([*studies, *STRANGE])]
            for _ in range(chance.randrange(1, 4)):
                option = chance.choice(RUN_OPTIONS)
                value = chance.choice(chance.choice([STRANGE, USUAL]))
                if option == "--set":
                    value = f"{chance.choice(AXES)}={value}"
                given += [option, value]
            return [*given, "--dry-run"]


def test_flags(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in home.rglob("*") if path.is_file())
    database = (home / "mlflow.db").read_bytes()

    def case(chance: random.Random) -> str:
        return f"ended with {ended(*flags(chance))}"

    ends = run_cases("flags", case, capsys)
    assert ends["ended with 2"] > 100
    assert sorted(path for path in home.rglob("*") if path.is_file()) == before
    assert (home / "mlflow.db").read_bytes() == database
