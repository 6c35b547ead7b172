"""The instruction set of a network: chosen, recorded, and chosen again when it is verified."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import shapes_study
from mlflow import MlflowClient
from mlflow.entities import Run
from study_commands import call, good

from mnist_ops import tracking
from mnist_ops.core import instruction_set, keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.study import lookup

LARGEST = instruction_set.of_cpu()
ONE = ["--set", "width=8", "--set", "dropout=0.0", "--set", "weight_decay=0.0", "--seeds", "0"]
ONE += ["--set", "epochs=2", "--device", "cpu"]

needs_avx512 = pytest.mark.skipif(
    not instruction_set.can("AVX512_CORE"), reason="this CPU has no smaller set that rounds apart"
)


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's study with images of its own, which other processes see as well."""
    monkeypatch.setattr(lookup, "registered", {})
    path = home / "my_study.py"
    shutil.copy(shapes_study.__file__, path)
    return path


def verified(*arguments: str) -> dict[str, object]:
    (found,) = json.loads(good("verify", "--study", "my_study.py", "--json", *arguments).stdout)
    return dict(found)


def only_run(client: MlflowClient) -> Run:
    (run,) = tracking.counted_runs(client)
    return run


@pytest.mark.slow
@needs_avx512
def test_a_network_is_verified_in_the_set_of_its_run(file: Path, client: MlflowClient) -> None:
    good("run", "my_study.py", "--workers", "1", *ONE, "--instruction-set", "AVX2")
    small = only_run(client)
    assert small.data.tags[keys.INSTRUCTION_SET] == "AVX2"

    # A variable of oneDNN is the set of its process, which gives the same bits.
    command = [sys.executable, "-m", "mnist_ops", "run", "my_study.py", "--workers", "0", *ONE]
    variable = os.environ | {instruction_set.VARIABLE: "AVX2"}
    subprocess.run([*command, "--force"], env=variable, check=True, capture_output=True)
    limited = only_run(client)
    assert limited.info.run_id != small.info.run_id
    assert limited.data.tags[keys.INSTRUCTION_SET] == "AVX2"
    assert limited.data.metrics[keys.TRAIN_LOSS] == small.data.metrics[keys.TRAIN_LOSS]
    found = verified()
    assert found["verdict"] == "agrees"
    assert found["instructions"] == {"used": "AVX2", "recorded": "AVX2"}
    assert found["agreement"] == {"n_test": 40, "differing": 0, "effect": 0.0, "noise": None}

    # With all that the CPU has, the same training is rounded otherwise.
    good("run", "my_study.py", "--workers", "1", *ONE, "--force")
    large = only_run(client)
    assert large.info.run_id != limited.info.run_id
    assert large.data.tags[keys.INSTRUCTION_SET] == LARGEST
    assert large.data.metrics[keys.TRAIN_LOSS] != small.data.metrics[keys.TRAIN_LOSS]
    assert verified()["verdict"] == "agrees"
    assert verified("--instruction-set", "AVX2")["instructions"] == {
        "used": "AVX2",
        "recorded": LARGEST,
    }


@needs_avx512
def test_a_process_keeps_to_its_set(file: Path) -> None:
    assert instruction_set.current() == LARGEST
    refused = call("run", "my_study.py", "--workers", "0", *ONE, "--instruction-set", "AVX2")
    assert refused.exit_code == 2
    assert f"computes with {LARGEST} already" in refused.stderr.splitlines()[-1]

    assert instruction_set.VARIABLE not in os.environ


@needs_avx512
def test_a_set_that_the_cpu_lacks(
    file: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("run", "my_study.py", "--workers", "0", *ONE)
    run = only_run(client)
    client.set_tag(run.info.run_id, keys.INSTRUCTION_SET, "AVX512_CORE_AMX")
    # An AMX machine can compute it; seen from one that cannot, as this may be one.
    monkeypatch.setattr(instruction_set, "of_cpu", lambda: "AVX512_CORE")
    monkeypatch.setattr(instruction_set, "current", cache(lambda: "AVX512_CORE"))

    for command in (["run", "my_study.py", *ONE], ["verify", "--study", "my_study.py"]):
        refused = call(*command, "--instruction-set", "AVX512_CORE_AMX")
        assert refused.exit_code == 2
        assert "this CPU lacks the instruction set AVX512_CORE_AMX" in refused.stderr

    answer = good("verify", "--study", "my_study.py").stdout
    assert "computed with AVX512_CORE, the run with AVX512_CORE_AMX, which this CPU lacks" in answer
    notes = good("doctor", "--json").stdout
    assert "1 run computed with AVX512_CORE_AMX; new runs are computed with AVX512_CORE" in notes


def test_what_a_run_was_computed_with() -> None:
    recorded = instruction_set.recorded
    assert recorded("AVX2", "AMD EPYC") == "AVX2"
    assert recorded(None, "AMD EPYC") == "AVX512_CORE_BF16"
    assert recorded(None, "Intel(R) Xeon(R) Processor") == ""
    with pytest.raises(InvalidInput, match="AVX512_CORE_AMX"):
        instruction_set.chosen("AVX")


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("AVX512_CORE_AMX", "AVX512_CORE_BF16"),
        ("DEFAULT", "AVX512_CORE_BF16"),
        ("avx512_core_vnni", "AVX512_CORE"),
        ("AVX2_VNNI", "AVX2"),
        ("SSE41", "SSE41"),
    ],
)
def test_the_largest_set_that_a_variable_allows(
    limit: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruction_set, "of_cpu", lambda: "AVX512_CORE_BF16")
    monkeypatch.setenv(instruction_set.VARIABLE, limit)
    assert instruction_set.chosen() == name
    assert instruction_set.environment().get(instruction_set.VARIABLE, limit) in (name, limit)
