"""Prove the CUDA code on this machine, with what a kit brought: tests, runs, figures, one export.

    python3 tests/support/gpu_proof.py --minutes 9

Needs a GPU, and a Python with torch, torchvision, scikit-learn, pandas and numpy; no network and no
pip. The stages, in this order, each with what is left of the time:

    tests     eager steps, steps as graphs, and trainings side by side, against the CPU
    devices   the half of study device_compare that this device computes
    streams   images a second by how many trainings share the device
    grid      the 128 cells of study resnet_grid

A stage that ended well is not repeated; the grid goes on where it was cut off. `results.zip` is
what `mnist-ops import` takes, `results.txt` the figures; both are written after each stage. An
earlier `results.zip` that lies in the kit is imported first.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
DEFAULT_KIT = ROOT / "build" / "gpu-kit"
DEFAULT_OUT = ROOT / "build" / "gpu-cuda"
TESTS = ("test_cuda_graph.py", "test_side_by_side.py", "test_train.py")
# Left for the export, at the end.
RESERVE_S = 45.0
# A grid saves its state within this time once it is asked to stop.
STOP_S = 60.0


class Proof:
    """The stages on one device, and what came of them."""

    def __init__(self, options: argparse.Namespace):
        self.device: str = options.device
        self.small: bool = options.device == "cpu"
        self.streams: int = options.streams
        self.out: Path = options.out.absolute()
        self.end = time.monotonic() + options.minutes * 60 - RESERVE_S
        self.results = self.out / "results.zip"
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                map(str, (ROOT, ROOT / "tests" / "support", self.out / "libraries"))
            ),
            "MNIST_OPS_DATA": str(self.out / "data"),
            "MNIST_OPS_STATE": str(self.out / "state"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.out / 'mlflow.db'}",
            "GIT_PYTHON_REFRESH": "quiet",
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def unpack(self, kit: Path) -> None:
        """Unpack what of the kit is not here yet."""
        about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
        if about["python"] != (here := "{}.{}".format(*sys.version_info)):
            fail(f"the kit is for Python {about['python']}, this is {here}: pack one for it")
        for name, digest in about["sha256"].items():
            done = self.out / f".{name}"
            if done.is_file() and done.read_text(encoding="utf-8") == digest:
                continue
            if hashlib.sha256((kit / name).read_bytes()).hexdigest() != digest:
                fail(f"{kit / name} is damaged: pack the kit again")
            target = self.out / ("libraries" if name.startswith("libraries") else "data")
            print(f"unpacking {name}", flush=True)
            with tarfile.open(kit / name) as archive:
                archive.extractall(target, filter="data")
            done.write_text(digest, encoding="utf-8")

    def take_over(self, earlier: Path) -> None:
        """Import the results of an earlier call, on a machine that is gone."""
        if earlier.is_file() and not self.results.exists():
            self.call("import", [*MNIST_OPS, "import", str(earlier)])

    def run(self) -> dict[str, str]:
        """Run the stages; return what came of each: ``passed``, or why not."""
        stages = {
            "tests": self.tests,
            "devices": self.devices,
            "streams": self.bench_streams,
            "grid": self.grid,
        }
        for name, stage in stages.items():
            print(f"--- {name}", flush=True)
            before = self.state_of(name)
            if before.get("outcome") != "passed" or before.get("source") != source():
                began = time.monotonic()
                outcome = stage() if self.left() > 0 else "no time left"
                seconds = round(time.monotonic() - began, 1)
                kept = {"outcome": outcome, "seconds": seconds, "source": source()}
                (self.out / f"{name}.json").write_text(json.dumps(kept), encoding="utf-8")
            print(f"{name}: {self.state_of(name)['outcome']}", flush=True)
            self.write_results(list(stages))
        return {name: self.state_of(name)["outcome"] for name in stages}

    def state_of(self, name: str) -> dict[str, Any]:
        path = self.out / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def left(self) -> float:
        return self.end - time.monotonic()

    def tests(self) -> str:
        files = [f"tests/fitting/{name}" for name in TESTS]
        report = self.out / "tests.xml"
        pytest = ["-m", "pytest", "-p", "no:cacheprovider", "-m", "slow or not slow", "-ra"]
        code = self.call("tests", [sys.executable, *pytest, f"--junitxml={report}", *files])
        if not report.is_file():
            return f"exit code {code}, no report"
        counts = tests_in(report)
        text = ", ".join(f"{n} {name}" for name, n in counts.items())
        if self.device == "cuda" and (missing := skipped_for_cuda(report)):
            return f"{missing} tests of CUDA skipped: {text}"
        return "passed" if code == 0 else text

    def devices(self) -> str:
        return self.study("devices", "device_compare", [])

    def bench_streams(self) -> str:
        size = ["--streams", "1", "2", "--seconds", "1", "--models", "resnet18"]
        figures = ["--out", str(self.out / "streams-figures.json"), "--device", self.device]
        bench = [sys.executable, "-m", "tests.benchmarks.bench_streams", *figures]
        return ended(self.call("streams", [*bench, *(size if self.small else ["--seconds", "2"])]))

    def grid(self) -> str:
        # A cell's own time needs the device for itself: that is study device_compare.
        small = ["--set", "epochs=1;model=resnet18;batch_size=16;pin_memory=false"]
        shared = small if self.small else ["--streams", str(self.streams)]
        return self.study("grid", "resnet_grid", shared)

    def study(self, stage: str, name: str, options: list[str]) -> str:
        size = ["--preset", "quick", "--train-limit", "64"] if self.small else ["--preset", "paper"]
        device = ["--device", self.device]
        command = [*MNIST_OPS, "run", name, *size, *device, "--workers", "1", "--yes", *options]
        return ended(self.call(stage, command))

    def call(self, stage: str, command: list[str]) -> int:
        """Run a command until the time is over; its output is shown and kept. Return its code."""
        log = self.out / f"{stage}.log"
        with log.open("wb") as kept:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=kept,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(max(self.left(), RESERVE_S))
            except subprocess.TimeoutExpired:
                # As Ctrl-C: what is computed is saved, and goes on next time.
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        print(tail(log), flush=True)
        return process.returncode

    def write_results(self, stages: list[str]) -> None:
        """Write the export and the text, of all that there is so far."""
        if (self.out / "mlflow.db").is_file():
            self.call("export", [*MNIST_OPS, "export", str(self.results)])
        machine = self.out / "machine.txt"
        if not machine.is_file():
            code = f"import torch, json; from mnist_ops.tracking import provenance\n{_MACHINE}"
            done = subprocess.run(
                [sys.executable, "-c", code, self.device],
                cwd=ROOT,
                env=self.environment,
                capture_output=True,
                text=True,
            )
            machine.write_text(done.stdout + done.stderr, encoding="utf-8")
        parts = [machine.read_text(encoding="utf-8")]
        for stage in stages:
            if kept := self.state_of(stage):
                log = self.out / f"{stage}.log"
                shown = tail(log, lines=60) if log.is_file() else ""
                parts.append(f"=== {stage}: {kept['outcome']} ({kept['seconds']} s)\n{shown}")
        (self.out / "results.txt").write_text("\n".join(parts) + "\n", encoding="utf-8")


MNIST_OPS = (sys.executable, "-m", "mnist_ops")
_MACHINE = """
import sys
for name, value in sorted(provenance.tags(sys.argv[1]).items()):
    print(f"{name}: {value}")
if sys.argv[1] == "cuda":
    print(f"cuda: {torch.version.cuda}, cudnn {torch.backends.cudnn.version()}")
"""


def tests_in(report: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    count = {
        name: sum(int(suite.get(name, "0")) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return {"passed": passed, "failed": failed, "skipped": count["skipped"]}


def skipped_for_cuda(report: Path) -> int:
    """Return how many tests found no CUDA device."""
    skipped = ElementTree.parse(report).getroot().iter("skipped")
    return sum("no CUDA device" in (each.get("message") or "") for each in skipped)


def ended(code: int) -> str:
    """Return the outcome of a command with this exit code."""
    return "passed" if code == 0 else f"exit code {code}"


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log, without those that a progress display overwrote."""
    text = log.read_bytes().decode(errors="replace").replace("\r\n", "\n")
    kept = [line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join([line for line in kept if line][-lines:])


def source() -> str:
    """Return a digest of the code that is proven: after a change each stage runs again."""
    found = hashlib.sha256()
    for folder in ("mnist_ops", "pipelines", "tests/fitting", "tests/support", "tests/benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def fail(reason: str) -> None:
    """End with one line."""
    raise SystemExit(f"gpu: {reason}")


def check_device(device: str) -> None:
    """End where this Python has no torch, or torch no device."""
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        fail(f"{sys.executable} cannot import torch: PYTHON=/path/to/python chooses another")
    version, has_cuda = done.stdout.split()
    if device == "cuda" and has_cuda != "True":
        fail(f"torch {version} finds no CUDA device here; DEVICE=cpu tries the stages without one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--kit", type=Path, default=DEFAULT_KIT)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="that this call may take")
    parser.add_argument("--streams", type=int, default=8, help="trainings of the grid at a time")
    parser.add_argument("--again", action="store_true", help="forget what an earlier call did")
    options = parser.parse_args()
    if not (options.kit / "kit.json").is_file():
        fail(f"there is no kit in {options.kit}: `make gpu-kit` packs it, with a network")
    check_device(options.device)
    proof = Proof(options)
    if options.again:
        shutil.rmtree(proof.out, ignore_errors=True)
    proof.out.mkdir(parents=True, exist_ok=True)
    proof.unpack(options.kit)
    proof.take_over(options.kit / "results.zip")
    outcomes = proof.run()
    print(f"Results: {proof.results} (mnist-ops import takes it), {proof.out / 'results.txt'}")
    if missing := [f"{name}: {how}" for name, how in outcomes.items() if how != "passed"]:
        fail("; ".join(missing))


if __name__ == "__main__":
    main()
