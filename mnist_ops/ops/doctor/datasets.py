"""Check the files of the data sets."""

import os
from functools import partial
from pathlib import Path

from mnist_ops import data
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, note
from mnist_ops.study import lookup

_SUBJECT = "data sets"


def check_datasets(context: Context) -> Examination:
    """Compare every file with its digest."""
    issues = []
    for name in lookup.known("datasets"):
        found = data.status(name, context.data_dir)
        if found.intact:
            continue
        states = {file.name: file.state for file in found.files}
        fix = partial(_fetch, context, name)
        if set(states.values()) == {"missing"}:
            issues.append(_none(context, name, found.folder, fix))
            continue
        wrong = tuple(f"{file}: {state}" for file, state in states.items() if state != "intact")
        issues.append(
            Issue(
                "data-corrupt" if "corrupt" in states.values() else "data-incomplete",
                f"{name} is not intact in {found.folder}",
                "--fix fetches missing files and replaces damaged ones, as `mnist-ops data` does",
                wrong,
                fix=fix,
            )
        )
    folder = context.data_dir or data.default_data_dir()
    return Examination(
        _SUBJECT, f"{' and '.join(lookup.known('datasets'))} intact in {folder}", tuple(issues)
    )


def _none(context: Context, name: str, folder: Path, fix: "partial[str]") -> Issue:
    chosen = context.data_dir is not None or "MNIST_OPS_DATA" in os.environ
    if chosen:
        # A missing folder may be on a disk that is not mounted.
        there = (context.data_dir or data.default_data_dir()).expanduser().is_dir()
        return Issue(
            "data-missing",
            f"{name} is not in {folder}, the folder that was chosen",
            "--fix fetches it" if there else "restore the folder, or create an empty one",
            fix=fix if there else None,
        )
    return note(
        "data-missing",
        f"{name} is not fetched yet",
        "the first grid fetches it, and so does --fix",
        fix=fix,
    )


def _fetch(context: Context, name: str, fixes: Fixes) -> str:
    found = data.ensure(name, context.data_dir, log=context.log)
    return f"{name} fetched: {found.source}"
