"""``mnist-ops data``: fetch and verify the data sets."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mnist_ops.cli.options import answer, data_dir_option, json_option, log
from mnist_ops.core.errors import DataUnavailable, MnistOpsError
from mnist_ops.study import lookup


@click.command()
@click.argument("datasets", nargs=-1)
@data_dir_option
@click.option("--check", is_flag=True, help="Only look; fetch nothing. Exits 1 if not all is well.")
@json_option
def data(datasets: tuple[str, ...], data_dir: Path | None, check: bool, as_json: bool) -> None:
    """Fetch and verify the data sets, and show state, path, digest and source."""
    from mnist_ops import data as datasets_on_disk

    states, problems = [], []
    for name in datasets or lookup.known("datasets"):
        try:
            if not check:
                datasets_on_disk.ensure(name, data_dir, log=log)
        except DataUnavailable as error:
            problems.append(str(error))
        states.append(datasets_on_disk.status(name, data_dir))
    if as_json:
        click.echo(json.dumps([_status_fields(state) for state in states], indent=2))
    else:
        for state in states:
            answer(f"{state.name}  {state.folder}")
            answer(f"  digest {state.digest}  source: {state.source if state.intact else '-'}")
            for file in state.files:
                answer(f"  {file.state:8} {file.md5_found or '-':32}  {file.name}")
    if problems:
        raise DataUnavailable("\n".join(problems))
    if not all(state.intact for state in states):
        raise MnistOpsError("not every file is intact; `mnist-ops data` fetches what is not")


def _status_fields(state: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(asdict(state), default=str))
    return fields | {"intact": state.intact, "digest": state.digest}
