"""``mnist-ops doctor``: find problems, and fix them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from mnist_ops.cli.options import answer, data_dir_option, json_option, log
from mnist_ops.cli.terminal import console, in_words
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.core.escaping import printable

if TYPE_CHECKING:
    from mnist_ops.ops.doctor import Diagnosis, Issue
    from mnist_ops.ops.doctor.undo import Undone

_WORD_WIDTH, _SUBJECT_WIDTH = 8, 15
_INDENT = " " * (_WORD_WIDTH + _SUBJECT_WIDTH)
_STYLES = {
    "ok": "green",
    "note": "cyan",
    "problem": "bold red",
    "fixed": "bold green",
    "-": "dim",
}
_ITEMS_SHOWN = 3


@click.command()
@click.option("--fix", is_flag=True, help="Fix what can be fixed; without it nothing is changed.")
@click.option(
    "--force",
    is_flag=True,
    help="With --fix: also take incomplete runs out of use, and move artifacts without a run.",
)
@click.option("--undo", is_flag=True, help="Take back the last --fix on this machine.")
@data_dir_option
@json_option
def doctor(fix: bool, force: bool, undo: bool, data_dir: Path | None, as_json: bool) -> None:
    """Check everything that a grid rests on; show each problem and its fix.

    Store and runs, journals and checkpoints, artifacts and data sets, versions, torch's kernels,
    room on disk. What a running process uses is left alone. The exit code is 0 when there is no
    problem, notes aside.

    Each change of a --fix is recorded, and --undo takes the last --fix back; once more, the one
    before.
    """
    from mnist_ops import tracking
    from mnist_ops.ops.doctor import UNDO, Context, Fixes, diagnose, undo_last

    if undo and (fix or force):
        raise InvalidInput("--undo stands alone: it takes back what --fix has done")
    if force and not fix:
        raise InvalidInput("--force says what --fix may do: use both")
    context = Context(tracking.default_uri(), data_dir, log, force)
    if undo:
        _print_undone(undo_last(context), as_json=as_json)
        return
    fixes = Fixes(context) if fix else None
    terminal = console(stderr=False)
    found = []
    for diagnosis in diagnose(context, fixes):
        found.append(diagnosis)
        if not as_json:
            _print(terminal, diagnosis)
    way_back = UNDO if fixes is not None and fixes.changes else None
    if as_json:
        subjects = [_fields(diagnosis) for diagnosis in found]
        ok = all(diagnosis.is_ok for diagnosis in found)
        click.echo(json.dumps({"well": ok, "undo": way_back, "subjects": subjects}, indent=2))
    elif way_back:
        answer(f"`{way_back}` takes this back")
    if told := _left(found, fix=fix):
        raise MnistOpsError(told)


def _print_undone(undone: "Undone | None", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"undone": dataclasses.asdict(undone) if undone else None}, indent=2))
    elif undone is None:
        answer("no fix to take back")
    else:
        answer(f"of the fix of {undone.time}")
        for line in undone.taken_back:
            answer(f"  taken back: {line}")
        for line in undone.left:
            answer(f"  left as it is: {line}")
        if not (undone.taken_back or undone.left):
            answer("  nothing had been changed")


def _left(found: "Sequence[Diagnosis]", *, fix: bool) -> str:
    problems = [f for d in found for f in d.seen.issues if f.severity == "problem"]
    fixable = sum(f.fix is not None for f in problems)
    if not problems:
        return ""
    told = f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    if fix:
        return f"{told} left: see above for what to do"
    if not fixable:
        return f"{told}: see above for what to do"
    return f"{told}; `mnist-ops doctor --fix` fixes {fixable}"


def _print(terminal: Console, diagnosis: "Diagnosis") -> None:
    subject = diagnosis.seen.subject
    for fixed in diagnosis.fixed:
        _line(terminal, "fixed", subject, f"{fixed.issue.what}: {fixed.did}")
    for issue in diagnosis.seen.issues:
        _line(terminal, issue.severity.value, subject, issue.what)
        for detail in _details(issue, diagnosis.failed.get(issue)):
            text = in_words(terminal, printable(_INDENT + detail), _INDENT + "  ")
            terminal.print(text, style="dim", soft_wrap=True)
    if not diagnosis.seen.issues:
        word = "ok" if diagnosis.seen.looked else "-"
        _line(terminal, word, subject, diagnosis.seen.ok)


def _line(terminal: Console, word: str, subject: str, text: str) -> None:
    head = word.ljust(_WORD_WIDTH) + subject.ljust(_SUBJECT_WIDTH)
    line = Text(in_words(terminal, head + printable(text), _INDENT))
    line.stylize(_STYLES[word], 0, len(word))
    terminal.print(line, soft_wrap=True)


def _details(issue: "Issue", failed: str | None) -> list[str]:
    more = len(issue.items) - _ITEMS_SHOWN
    lines = [f"- {item}" for item in issue.items[:_ITEMS_SHOWN]]
    lines += [f"- and {more} more (--json lists all)"] if more > 0 else []
    lines += [f"not fixed: {failed}"] if failed else []
    return [*lines, f"> {issue.cure}"]


def _fields(diagnosis: "Diagnosis") -> dict[str, Any]:
    def fields(issue: "Issue") -> dict[str, Any]:
        return {
            "kind": issue.kind,
            "severity": issue.severity.value,
            "what": issue.what,
            "cure": issue.cure,
            "items": list(issue.items),
            "fix": issue.fix is not None,
            "not_mended": diagnosis.failed.get(issue),
        }

    return {
        "subject": diagnosis.seen.subject,
        "looked": diagnosis.seen.looked,
        "findings": [fields(issue) for issue in diagnosis.seen.issues],
        "mended": [
            {"kind": m.issue.kind, "what": m.issue.what, "did": m.did} for m in diagnosis.fixed
        ],
    }
