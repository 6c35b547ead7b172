"""The data sets: whether their files are there, and are what they should be."""

import os
from functools import partial
from pathlib import Path

from mnist_ops import data
from mnist_ops.ops.doctor.context import Site
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Finding, note

_SUBJECT = "data sets"


def look_at_datasets(site: Site) -> Examination:
    """Compare every file with its digest."""
    findings = []
    for name in data.DATASETS:
        found = data.status(name, site.data_dir)
        if found.intact:
            continue
        states = {file.name: file.state for file in found.files}
        mend = partial(_fetch, site, name)
        if set(states.values()) == {"missing"}:
            findings.append(_none(site, name, found.folder, mend))
            continue
        wrong = tuple(f"{file}: {state}" for file, state in states.items() if state != "intact")
        findings.append(
            Finding(
                "data-corrupt" if "corrupt" in states.values() else "data-incomplete",
                f"{name} is not intact in {found.folder}",
                "--fix fetches what is missing, and replaces for good what is damaged, as "
                "`mnist-ops data` does",
                wrong,
                mend=mend,
            )
        )
    folder = site.data_dir or data.default_data_dir()
    return Examination(
        _SUBJECT, f"{' and '.join(data.DATASETS)} intact in {folder}", tuple(findings)
    )


def _none(site: Site, name: str, folder: Path, mend: "partial[str]") -> Finding:
    chosen = site.data_dir is not None or "MNIST_OPS_DATA" in os.environ
    if chosen:
        # A folder that is not there may lie on a disk that is not mounted.
        there = (site.data_dir or data.default_data_dir()).expanduser().is_dir()
        return Finding(
            "data-missing",
            f"{name} is not in {folder}, the folder that was chosen",
            "--fix fetches it" if there else "bring the folder back, or make an empty one",
            mend=mend if there else None,
        )
    return note(
        "data-missing",
        f"{name} is not fetched yet",
        "the first grid fetches it, and so does --fix",
        mend=mend,
    )


def _fetch(site: Site, name: str, fixes: Fixes) -> str:
    found = data.ensure(name, site.data_dir, say=site.say)
    return f"{name} fetched: {found.source}"
