"""Checkpoints of this machine, and the halves of files that a crash left."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mnist_ops import checkpoints, state
from mnist_ops.doctor.finding import Examination, Finding, counted, size
from mnist_ops.doctor.site import Site
from mnist_ops.tracking.left import left_in

_SUBJECT = "checkpoints"


def look_at_checkpoints(site: Site) -> Examination:
    """Files that no training will read again."""
    if site.store is None:
        return Examination(_SUBJECT, "none yet")
    folder = state.checkpoint_path(site.store, "").parent
    # Asked for again at the moment of mending: a grid may have begun.
    kinds: dict[str, tuple[Callable[[str], Iterator[Path]], str]] = {
        "orphaned-checkpoint": (_orphaned, "without a journal of its training"),
        "set-aside-checkpoint": (_set_aside, "set aside as damaged, or of other versions"),
        "leftover": (_leftovers, "half written when its process died"),
    }
    findings = []
    for kind, (find, why) in kinds.items():
        if files := list(find(site.store)):
            total = sum(file.stat().st_size for file in files)
            findings.append(
                Finding(
                    kind,
                    f"{counted(len(files), 'file')} {why}, {size(total)}",
                    "--fix deletes them",
                    tuple(str(file.relative_to(state.state_dir())) for file in files),
                    mend=partial(_delete, find, site.store),
                )
            )
    saved = len(list(folder.glob(f"*{checkpoints.SUFFIX}")))
    well = f"{saved} to go on from" if saved else "none left behind"
    return Examination(_SUBJECT, well, tuple(findings))


def _orphaned(store: str) -> Iterator[Path]:
    needed = _trajectories(store)
    for file in _folder(store).glob(f"*{checkpoints.SUFFIX}"):
        if file.name.removesuffix(checkpoints.SUFFIX) not in needed:
            yield file


def _set_aside(store: str) -> Iterator[Path]:
    yield from _folder(store).glob(f"*{checkpoints.SUFFIX}{checkpoints.SET_ASIDE}")


def _leftovers(store: str) -> Iterator[Path]:
    journals = list(left_in(state.journals_dir(store)))
    written_now = {found.trajectory for found in journals if found.in_use}
    for file in _folder(store).glob(".*.new"):
        training = file.name.removeprefix(".").removesuffix(f"{checkpoints.SUFFIX}.new")
        if training not in written_now:
            yield file
    for found in journals:
        if not found.in_use:
            yield from found.folder.glob(".*.new")


def _folder(store: str) -> Path:
    return state.checkpoint_path(store, "").parent


def _trajectories(store: str) -> set[str | None]:
    return {found.trajectory for found in left_in(state.journals_dir(store))}


def _delete(find: Callable[[str], Iterator[Path]], store: str) -> str:
    gone = freed = 0
    for file in list(find(store)):
        freed += file.stat().st_size
        file.unlink()
        gone += 1
    return f"{counted(gone, 'file')} deleted, {size(freed)} freed"
