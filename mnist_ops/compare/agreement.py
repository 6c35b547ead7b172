"""Every published number beside the measured one, and whether they agree.

The measured values are those of the tables, so that no number has two derivations; here they get
their ranges. The published number is one draw of seed and images, as is each measured one, so they
agree where it lies where a repeat of the measurement falls 95% of the time (see `chance`).
Counts agree where they round to the printed digits. What depends on the machine is shown beside the
published number and not judged; of runs of another size than the study's, counts alone are judged.

The study says how many images it tested on, and not from where they are. Where the same cells were
run with the official test images kept apart, what these give stands beside each number, whether it
agrees or not (see `official_images`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.published import ACCURACY, F1, QUANTITIES, Judged, Number
from mnist_ops.compare.render import csv_text
from mnist_ops.compare.seed_noise import ACCURACY as ACCURACY_SCORE
from mnist_ops.compare.seed_noise import F1 as F1_SCORE
from mnist_ops.compare.seed_noise import Score, chance, fewest_images
from mnist_ops.compare.statistics import Interval, Mean
from mnist_ops.compare.tables.labels import configuration, model_label
from mnist_ops.compare.tables.place import Place
from mnist_ops.compare.tables.table import Table, Value
from mnist_ops.core import keys
from mnist_ops.study.specs import OFFICIAL

if TYPE_CHECKING:
    from mnist_ops.compare.paper import Paper

# The columns of the frame.
COLUMNS = (
    "table",
    "description",
    "metric",
    "unit",
    "published",
    "measured",
    "difference",
    "low",
    "high",
    "agrees",
    "agrees_official",
    "official",
    "official_low",
    "official_high",
    "note",
)

# Column -> that of the same numbers on the official test images.
_OFFICIAL: Mapping[str, str] = {
    "agrees_official": "agrees",
    "official": "measured",
    "official_low": "low",
    "official_high": "high",
}

YES = "yes"
NO = "no"
NOT_COMPARABLE = "not comparable"
NOT_MEASURED = "not measured"

_HARDWARE = "depends on the hardware"
SCORES: Mapping[str, Score] = {ACCURACY: ACCURACY_SCORE, F1: F1_SCORE}


@dataclass(frozen=True)
class Compared:
    """A published number, where its measured value stands, and whether sizes are the paper's."""

    number: Number
    place: Place
    table: Table
    same_size: bool


def agreement(paper: "Paper", evidence: Evidence, tables: Sequence[Table]) -> pd.DataFrame:
    """Return one row a published number, in the paper's order; columns as of `COLUMNS`.

    ``published``, ``measured`` and ``difference`` (measured less published) are in ``unit``;
    ``low`` and ``high`` are where a repeat falls 95% of the time. Numbers that are not there are
    missing (NaN), and ``note`` says why.
    """
    built = {table.number: table for table in tables}
    described = {table.number: table for table in paper.tables}
    rows = []
    for number in paper.published.numbers:
        place = described[number.table].place(number)
        same = evidence.selection.preset in _sizes_of(paper, place.study)
        rows.append(_row(Compared(number, place, built[number.table], same), evidence))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numeric = ["published", "measured", "difference", "low", "high"]
    numeric += ["official", "official_low", "official_high"]
    return frame.astype(dict.fromkeys(numeric, "float64"))


def _sizes_of(paper: "Paper", name: str) -> list[str]:
    """Return the preset tags of runs of the paper's own size, also those with official images."""
    study = paper.study(name)
    presets = study.same_size(paper.preset)
    return [*presets, *(study.departed_label(p, OFFICIAL) for p in presets if p in study.presets)]


def with_official(frame: pd.DataFrame, official: pd.DataFrame) -> pd.DataFrame:
    """`frame`, with what the official test images say of each judged number.

    Args:
        frame: as of `agreement`.
        official: the same of the cells that were tested on official test images.

    Returns:
        The frame with ``agrees_official`` filled in where there is such a number, ``official``
        with the number, ``official_low`` and ``official_high`` with its range.
    """
    frame = frame.copy()
    judged = frame["agrees"].isin([YES, NO]) & official["agrees"].isin([YES, NO])
    # A count does not depend on the images.
    judged &= official["low"].notna()
    for ours, theirs in _OFFICIAL.items():
        frame.loc[judged, ours] = official.loc[judged, theirs]
    return frame


def to_csv(frame: pd.DataFrame) -> str:
    """Return the frame as CSV, with numbers to six significant digits."""
    return csv_text(frame, float_format="%.6g")


def _row(compared: Compared, evidence: Evidence) -> dict[str, Any]:
    number, place = compared.number, compared.place
    quantity = QUANTITIES[number.metric]
    found = place.find(compared.table)
    printed = number.value / quantity.divisor
    row: dict[str, Any] = {
        "table": number.table,
        "description": _description(number),
        "metric": number.metric,
        "unit": quantity.unit,
        "published": printed,
        "measured": None,
        "difference": None,
        "low": None,
        "high": None,
        "agrees_official": "",
    }
    measured = found.get("measured", "")
    if isinstance(measured, str):
        return row | {"agrees": NOT_MEASURED, "note": measured or "not in the tables"}
    row |= {"measured": measured, "difference": measured - printed}
    if quantity.judged is Judged.BY_DIGITS:
        same = round(measured, number.decimals) == round(printed, number.decimals)
        return row | {
            "agrees": YES if same else NO,
            "note": "a count: compared to the last printed digit",
        }
    notes = [_choice_note(compared.table, place, found)]
    if not compared.same_size:
        size = f"not the study's size ({evidence.scope})"
        return row | {"agrees": NOT_COMPARABLE, "note": _joined(size, *notes)}
    if quantity.judged is Judged.NOT:
        why = _joined(place.other_work, _HARDWARE)
        return row | {"agrees": NOT_COMPARABLE, "note": _joined(why, *notes)}
    judged = _range(compared, measured, found, evidence)
    if judged is None:
        why = "no range to judge by: needs several seeds"
        return row | {"agrees": NOT_COMPARABLE, "note": _joined(why, *notes)}
    (low, high), basis = judged
    # Half a unit of the last printed digit is rounding, not difference.
    half = 0.5 * 10**-number.decimals
    agrees = low - half <= printed <= high + half
    if not agrees:
        notes.append(basis)
    return row | {
        "low": low,
        "high": high,
        "agrees": YES if agrees else NO,
        "note": _joined(*notes),
    }


def _range(
    compared: Compared, measured: float, found: Mapping[str, Value], evidence: Evidence
) -> tuple[Interval, str] | None:
    """Return the range in which a repeated measurement falls, and what it is estimated from."""
    number, place = compared.number, compared.place
    if place.compare is not None:
        difference = place.compare(evidence)
        if difference is None or difference.of_another is None:
            return None
        return difference.of_another, ""
    n, deviation = found.get("n", 1), found.get("std", "")
    own = Mean(
        measured,
        deviation if isinstance(deviation, float) else None,
        None,
        n if isinstance(n, int) else 1,
    )
    score = SCORES[number.metric]
    cells = evidence.cells(place.study, dataset=number.fields[keys.DATASET])
    known = chance(evidence.selection, number.fields, score, own, fewest_images(cells))
    if known is None:
        return None
    low, high = known.of_another
    # No score is below 0 or above 1, wherever Student's bell ends.
    return (max(low, 0.0), min(high, score.scale)), known.text


def _description(number: Number) -> str:
    """Return what the number is, in the words of the tables."""
    if number.text:
        return number.text
    fields = dict(number.fields)
    model = str(fields.get(keys.MODEL, ""))
    device = {"cpu": "CPU", "cuda": "GPU"}.get(str(fields.get(keys.DEVICE)), "")
    setting = configuration(fields) if {keys.OPTIMIZER, keys.KERNEL} & fields.keys() else ""
    parts = [str(fields.get(keys.DATASET, "")), model_label(model), setting, device]
    return ", ".join(part for part in parts if part)


def _choice_note(table: Table, place: Place, found: Mapping[str, Value]) -> str:
    """Return a note on the value chosen as the paper does, best on test, where it differs."""
    if place.on_test:
        on_test = place.find(table, **place.on_test).get("measured", "")
    else:
        on_test = found.get("best_on_test", "")
    if isinstance(on_test, str) or on_test == found["measured"]:
        return ""
    return f"chosen on validation; best on test, the study's way: {on_test:.4g}"


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
