"""Check the checkpoints of this machine, and incomplete files of crashes."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mnist_ops.core import paths
from mnist_ops.core.paths import CHECKPOINT, SET_ASIDE
from mnist_ops.ops.doctor.changes import Move
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, size
from mnist_ops.ops.doctor.journals import unused_of
from mnist_ops.tracking.leftover_journals import leftover_journals

Find = Callable[[Context], Iterator[Path]]
FixFiles = Callable[[Find, Context, Fixes], str]

_SUBJECT = "checkpoints"


def check_checkpoints(context: Context) -> Examination:
    """Check for files that no training will read again."""
    if context.store is None:
        return Examination(_SUBJECT, "none yet")
    folder = paths.checkpoint_path(context.store, "").parent
    # Each fix searches for its files again, as a grid may have started.
    moves = "--fix moves them into a folder set-aside beside them; nothing is deleted"
    deletes = "--fix deletes them permanently: nothing reads them again"
    kinds: dict[str, tuple[Find, str, str, FixFiles]] = {
        "orphaned-checkpoint": (_orphaned, "without a journal of its training", moves, _move),
        "set-aside-checkpoint": (
            _set_aside,
            "set aside as damaged, or of other versions",
            deletes,
            _delete,
        ),
        "leftover": (
            _leftovers,
            "incomplete, as the process ended while writing",
            deletes,
            _delete,
        ),
    }
    issues = []
    for kind, (find, why, cure, fix) in kinds.items():
        if files := list(find(context)):
            total = sum(file.stat().st_size for file in files)
            issues.append(
                Issue(
                    kind,
                    f"{counted(len(files), 'file')} {why}, {size(total)}",
                    cure,
                    tuple(str(file.relative_to(paths.state_dir())) for file in files),
                    fix=partial(fix, find, context),
                )
            )
    saved = len(list(folder.glob(f"*{CHECKPOINT}")))
    ok = f"{saved} to resume from" if saved else "none left behind"
    return Examination(_SUBJECT, ok, tuple(issues))


def _orphaned(context: Context) -> Iterator[Path]:
    needed = {found.fit_group for found in leftover_journals(paths.journals_dir(_store(context)))}
    for file in _folder(context).glob(f"*{CHECKPOINT}"):
        if file.name.removesuffix(CHECKPOINT) not in needed:
            yield file


def _set_aside(context: Context) -> Iterator[Path]:
    yield from _folder(context).glob(f"*{CHECKPOINT}{SET_ASIDE}")


def _leftovers(context: Context) -> Iterator[Path]:
    journals = list(leftover_journals(paths.journals_dir(_store(context))))
    unused = unused_of(context, journals)
    written_now = {found.fit_group for found in journals if found not in unused}
    for file in _folder(context).glob(".*.new"):
        training = file.name.removeprefix(".").removesuffix(f"{CHECKPOINT}.new")
        if training not in written_now:
            yield file
    for found in unused:
        yield from found.folder.glob(".*.new")


def _store(context: Context) -> str:
    assert context.store is not None
    return context.store


def _folder(context: Context) -> Path:
    return paths.checkpoint_path(_store(context), "").parent


def _move(find: Find, context: Context, fixes: Fixes) -> str:
    files = list(find(context))
    for file in files:
        fixes.make(Move(str(file), str(fixes.aside(file))))
    return f"{counted(len(files), 'file')} moved to {fixes.aside(_folder(context)).parent}"


def _delete(find: Find, context: Context, fixes: Fixes) -> str:
    gone = freed = 0
    for file in list(find(context)):
        freed += file.stat().st_size
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()
        gone += 1
    return f"{counted(gone, 'file')} deleted, {size(freed)} freed"
