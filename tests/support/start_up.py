"""What commands and workers import, and what that costs: each case a process of its own.

    python tests/support/start_up.py CASE...

prints a line of JSON for each: the packages of `HEAVY` that it imported, seconds of CPU, memory.
"""

import json
import os
import resource
import sys

# Packages that take half a second or more.
HEAVY = (
    "dask",
    "distributed",
    "fvcore",
    "mlflow",
    "pandas",
    "plotly",
    "sklearn",
    "statsmodels",
    "torch",
    "torch._dynamo",
    "torchvision",
)
_COMMAND = "from mnist_ops.cli import main\nmain({!r}, standalone_mode=False)"
_FIT = """
import dataclasses, numpy as np, specs
import mnist_ops.runner.workers.start
from mnist_ops.data import Images
from mnist_ops.fitting import methods
labels = np.arange(600) % 10
images = np.random.default_rng(0).integers(0, 256, (600, 28, 28), np.uint8)
names = tuple(map(str, range(10)))
cell = dataclasses.replace(specs.{}, train_limit=60, test_limit=40, device="cpu")
found = []
work = methods.Work(on_result=lambda cell, result: found.append(cell))
methods.fit([cell], Images("MNIST", images, labels, 400, "0" * 16, names), work)
assert found == [cell]
"""
# Need nothing.
BARE = {
    "help": _COMMAND.format(["--help"]),
    "help of each command": (
        "from mnist_ops.cli import COMMANDS, main\n"
        "for name in COMMANDS: main([name, '--help'], standalone_mode=False)"
    ),
    "catalogs": (
        "import mnist_ops.data.catalog, mnist_ops.fitting.resnet.catalog\n"
        "from mnist_ops.study import lookup\n"
        "lookup.named('methods', 'svm')\n"
        "lookup.named('studies', 'svm_grid').cells('paper')"
    ),
    "comparison": "import mnist_ops.compare.report",
    "registered model": (
        "import mnist_ops.serving.inference, mnist_ops.serving.inference.preprocessing"
    ),
}
# On MLflow's current store, which has the run of the first one.
ON_STORE = {
    "tracking": "import tracked_runs\ntracked_runs.write(1)",
    "status": _COMMAND.format(["status"]),
    "doctor": _COMMAND.format(["doctor"]),
    "sync": _COMMAND.format(["sync"]),
    "export": _COMMAND.format(["export", "exported.zip"]),
    "summarize": _COMMAND.format(["summarize", "--format", "json"]),
    "run --dry-run": _COMMAND.format(["run", "svm_grid", "--dry-run"]),
    "main process of a grid": (
        "import mnist_ops.runner.engine\n"
        "from mnist_ops.runner.fit_groups import grouped\n"
        "from mnist_ops.runner.workers import Needs, open_pool\n"
        "from mnist_ops.study import lookup\n"
        "grid = lookup.named('studies', 'resnet_grid').with_axes({'device': ('cpu',)})\n"
        "grouped(grid.cells('paper'), share=True)\n"
        "with open_pool(2, None, Needs(None, (), {})): pass"
    ),
    "worker, support vector machines": _FIT.format("SVM"),
    "worker, networks": _FIT.format("RESNET"),
}


def forked(code: str) -> dict[str, object]:
    """Run `code` in a fork of this process, and return what it imported, and what it cost."""
    ours, theirs = os.pipe()
    before = set(sys.modules)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        error = ""
        try:
            exec(code, {"__name__": "case"})
        except BaseException as caught:
            error = repr(caught)
        used = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "imported": [name for name in HEAVY if name in sys.modules.keys() - before],
            "error": error,
            "cpu_s": round(used.ru_utime + used.ru_stime, 2),
            "memory_mb": used.ru_maxrss // 1024,
        }
        with os.fdopen(theirs, "w") as file:
            json.dump(found, file)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def main() -> None:
    """Print what each of the named cases imports."""
    for name in sys.argv[1:]:
        if name == "with MLflow":
            # What follows then shares seconds of it.
            import mnist_ops.tracking  # noqa: F401
        else:
            print(json.dumps({"case": name} | forked((BARE | ON_STORE)[name])), flush=True)


if __name__ == "__main__":
    main()
