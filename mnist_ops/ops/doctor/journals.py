"""Check the journals of this machine: pending, refused, superfluous and damaged ones."""

import contextlib
from collections.abc import Collection, Iterable

from filelock import FileLock, Timeout

from mnist_ops import tracking
from mnist_ops.core import keys, paths
from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.ops.doctor.changes import Move
from mnist_ops.ops.doctor.context import Context
from mnist_ops.ops.doctor.fixes import Fixes
from mnist_ops.ops.doctor.issue import Examination, Issue, counted, not_checked, note
from mnist_ops.tracking.journal import LOCK, Journal
from mnist_ops.tracking.leftover_journals import LeftoverJournal, inspect, leftover_journals
from mnist_ops.tracking.tracker import end_as_killed

_SUBJECT = "journals"
# Time limit for uploading runs.
UPLOAD_S = 120.0


def check_journals(context: Context) -> Examination:
    """Check for journals of processes of this machine that have ended."""
    if context.client is None:
        return not_checked(_SUBJECT)
    if context.store is None:
        return Examination(_SUBJECT, "none yet")
    here = unused_of(context, leftover_journals(paths.journals_dir(context.store)))
    damaged = [found for found in here if found.is_damaged]
    left = [found for found in here if not found.is_damaged]
    cells = [found.fingerprint for found in left if found.fingerprint]
    with tracking.tracking_errors(context.uri):
        done = tracking.finished_of(context.client, dict.fromkeys(cells)).keys()
    useless = [found for found in left if _is_useless(found, done)]
    refused = [found for found in left if found.refused and found not in useless]
    waiting = [
        found for found in left if not (found.is_synced or found.refused) and found not in useless
    ]
    resumable = [found for found in left if found.is_synced and found not in useless]
    issues = [
        *_pending(context, waiting),
        *_refused(context, refused),
        *_useless(useless),
        *_damaged(damaged),
    ]
    if resumable:
        issues.append(
            note(
                "resumable",
                f"{counted(len(resumable), 'cell')} interrupted, with their progress saved",
                "the same command resumes them",
            )
        )
    return Examination(_SUBJECT, "the store has every run of this machine", tuple(issues))


def unused_of(context: Context, journals: Iterable[LeftoverJournal]) -> list[LeftoverJournal]:
    """Return the journals that no live process has open, on this machine or another."""
    free = [found for found in journals if not found.in_use]
    elsewhere = {f.owner for f in free if f.owner is not None and not f.owner.is_here}
    live = elsewhere - context.ended_among(elsewhere)
    return [found for found in free if found.owner not in live]


def _is_useless(found: LeftoverJournal, done: Collection[str]) -> bool:
    if found.opened is None:
        return True
    over = found.fingerprint in done
    return (over and (found.is_synced or found.refused)) or (found.is_synced and found.forced)


def _pending(context: Context, waiting: list[LeftoverJournal]) -> Iterable[Issue]:
    if waiting:
        yield Issue(
            "undelivered",
            f"{counted(len(waiting), 'run')} not completely uploaded",
            "`mnist-ops sync` uploads them, and so does --fix",
            tuple(found.name for found in waiting),
            fix=lambda fixes: _upload(context, []),
        )


def _refused(context: Context, refused: list[LeftoverJournal]) -> Iterable[Issue]:
    if refused:
        yield Issue(
            "refused",
            f"{counted(len(refused), 'run')} that the store refused",
            "--fix uploads them once more; if they are refused again, look at the folder, and "
            "delete it to compute the cell again",
            tuple(str(found.folder) for found in refused),
            fix=lambda fixes: _upload(context, refused),
        )


def _useless(useless: list[LeftoverJournal]) -> Iterable[Issue]:
    if not useless:
        return

    def remove(fixes: Fixes) -> str:
        removed = 0
        for found in useless:
            # A journal that was opened or changed meanwhile is kept.
            with contextlib.suppress(Timeout), FileLock(found.folder / LOCK, timeout=0):
                if inspect(found.folder).events == found.events:
                    fixes.make(Move(str(found.folder), str(fixes.aside(found.folder))))
                    removed += 1
        return f"{counted(removed, 'journal')} moved to {fixes.aside(useless[0].folder).parent}"

    yield Issue(
        "orphaned-journal",
        f"{counted(len(useless), 'journal')} without use: their cells are finished, or they are "
        "empty",
        "--fix moves them into a folder set-aside beside them; nothing is deleted",
        tuple(found.name for found in useless),
        fix=remove,
    )


def _damaged(damaged: list[LeftoverJournal]) -> Iterable[Issue]:
    if damaged:
        yield note(
            "damaged-journal",
            f"{counted(len(damaged), 'journal')} that cannot be read: what the store lacks of "
            "their runs is computed again",
            "delete the folders when you no longer need them; a grid sets them aside by itself",
            tuple(str(found.folder) for found in damaged),
        )


def _upload(context: Context, refused: list[LeftoverJournal]) -> str:
    """Upload the journals of processes that have ended, and those refused before."""
    tracker = tracking.open_tracker(context.uri, context.log)
    try:
        for found in refused:
            with contextlib.suppress(tracking.JournalBusy):
                _offer_again(tracker, found)
        with tracking.tracking_errors(context.uri):
            taken = tracker.take_over() + len(refused)
        tracker.uploader.flush(UPLOAD_S, retry=True)
        waiting, last_error = tracker.uploader.waiting, tracker.uploader.last_error
    finally:
        tracking.close_tracker(tracker)
    if waiting:
        reason = last_error or "another process computes their cells"
        raise TrackingUnavailable(f"{counted(waiting, 'run')} not uploaded: {reason}")
    return f"{counted(taken, 'run')} uploaded"


def _offer_again(tracker: tracking.Tracker, found: LeftoverJournal) -> None:
    journal = Journal(found.folder)
    mark = journal.tags[keys.JOURNAL]
    journal.move(tracker.journals / f"{found.fingerprint or 'grid'}-{mark[:8]}")
    if journal.status == "RUNNING":
        end_as_killed(journal)
    tracker.uploader.add(journal, claimed=False)
