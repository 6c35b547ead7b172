"""Before a grid begins: do a user's functions fit, and what has changed of them since?"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from mnist_ops.core.errors import InvalidInput
from mnist_ops.fitting import methods
from mnist_ops.study.grids import Study
from mnist_ops.study.specs import Spec


def register(studies: Iterable[Study], workers: int | None) -> None:
    """Let what `studies` have of their own be found by its name, in worker processes too.

    Raises:
        InvalidInput: a study is in no file that workers could load.
    """
    for study in studies:
        study.register()
        if study.has_own and not study.place and workers != 0:
            raise InvalidInput(
                f"study {study.name} has functions or data of its own, which worker processes load "
                "from its file: run the file, or use 0 workers"
            )


def check_models(cells: Iterable[Spec]) -> None:
    """Make each model of a user's function once.

    Raises:
        InvalidInput: one does not fit the images of its data set, or cannot be made.
    """
    for cell in cells:
        if cell.code or cell.data_digest:
            methods.check(cell)


def changes(cells: Iterable[Spec], finished: Iterable[tuple[Spec, int]]) -> list[str]:
    """Return a line on each function or data set whose change makes finished cells new ones.

    Args:
        cells: to be computed.
        finished: cells of the study that are finished, each with its end in milliseconds.
    """
    own = [cell for cell in cells if cell.code or cell.data_digest]
    if not own:
        return []
    before: dict[str, tuple[Spec, int]] = {}
    for spec, end in finished:
        if _key(spec) not in before or end > before[_key(spec)][1]:
            before[_key(spec)] = spec, end
    counts: Counter[str] = Counter()
    since: dict[str, int] = {}
    for cell in own:
        old, end = before.get(_key(cell), (cell, 0))
        changed = {
            f"the code of {cell.model}": old.code != cell.code,
            f"the images of {cell.dataset}": old.data_digest != cell.data_digest,
        }
        for what in (what for what, is_other in changed.items() if is_other):
            counts[what] += 1
            since[what] = max(end, since.get(what, 0))
    return [
        f"{what} changed since {_minute(since[what])}; "
        + ("this cell is new" if count == 1 else f"these {count:,} cells are new")
        for what, count in counts.items()
    ]


def _key(spec: Spec) -> str:
    """Return the cell without the digests of what a user's file has."""
    fields: Mapping[str, object] = json.loads(spec.canonical)
    return json.dumps({k: v for k, v in fields.items() if k not in ("code", "data_digest")})


def _minute(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
