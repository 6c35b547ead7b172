"""How sharp the agreement of single numbers is, and whether the numbers agree as a whole.

A number agrees if it lies where a repeat of the measurement falls, and the range of a single run
can be wide: numbers that agree one by one can lie above print all together. So the numbers of a
table, and those of one model or kernel on one data set, are tested jointly: is the mean of the
differences, measured less published, zero?

The published numbers are one run each, most likely of one seed. Runs of one seed share their
test images, so that their differences are correlated:

* With five common seeds or more, the mean over the numbers is taken seed by seed. The published
  mean is one more such mean, whatever the correlation is: Student's t.
* Else the variances of the differences are added, with the mean correlation over common seeds of
  the configurations of the study (at least 0), and the fewest degrees of freedom among them.
"""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from mnist_ops.compare import agreement as published_numbers
from mnist_ops.compare import statistics
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.extra_analyses import Topic
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.published import ACCURACY, QUANTITIES, Number
from mnist_ops.compare.render import minus, p_text, readable
from mnist_ops.compare.seed_noise import Chance, Score, chance, fewest_images
from mnist_ops.compare.selection import Selection
from mnist_ops.compare.statistics import ENOUGH_SEEDS, Interval
from mnist_ops.compare.tables.champion import by_configuration
from mnist_ops.compare.tables.labels import model_label
from mnist_ops.compare.tables.measure import grouped, values_of
from mnist_ops.core import keys

if TYPE_CHECKING:
    from mnist_ops.compare.paper import Paper

# Fewer numbers are no group.
_ENOUGH_NUMBERS = 3

TITLE = "How sharp the agreement is"


@dataclass(frozen=True)
class Joint:
    """Published numbers that are judged together.

    Attributes:
        of: which they are: a table, or a model or kernel and a data set.
        metric: one of `published.QUANTITIES`.
        n: how many are judged.
        agree: how many of them agree one by one.
        above: of how many the measured number is above print.
        width: of the range that a number has to lie in, the median.
        difference: the mean of measured less published.
        interval: where that mean lies 95% of the time if nothing but chance makes it, about it.
        p_value: two-sided, of "the mean difference is zero".
        seeds: common seeds that the test rests on; 0 where variances are added.
        p_adjusted: by Holm's method over all groups.
    """

    of: str
    metric: str
    n: int
    agree: int
    above: int
    width: float
    difference: float
    interval: Interval
    p_value: float
    seeds: int
    p_adjusted: float = 1.0


@dataclass(frozen=True)
class _Judged:
    """A published number with what was measured for it."""

    number: Number
    study: str
    row: Mapping[str, Any]
    by_seed: Mapping[Any, float]
    noise: Chance


def joint_agreement(paper: "Paper", evidence: Evidence, frame: pd.DataFrame) -> tuple[Joint, ...]:
    """Test the published numbers by table and by family, scores that are single configurations'.

    Args:
        paper: whose numbers they are.
        evidence: the cells.
        frame: the comparison of single numbers, as of `agreement.agreement`.
    """
    judged = _judged(paper, evidence, frame)
    correlations = {
        study: _correlation(evidence.selection, study) for study in {each.study for each in judged}
    }
    tables = grouped(judged, lambda each: (f"Table {each.number.table}", each.number.metric))
    # F1 is so near accuracy that families of both would say the same twice.
    accuracies = [each for each in judged if each.number.metric == ACCURACY]
    families = grouped(accuracies, lambda each: (_family(each.number), each.number.metric))
    several = Counter(each.number.table for members in families.values() for each in members[:1])
    families = {
        key: members for key, members in families.items() if several[members[0].number.table] > 1
    }
    found = [
        _test(of, metric, members, correlations[members[0].study])
        for (of, metric), members in itertools.chain(tables.items(), families.items())
        if len(members) >= _ENOUGH_NUMBERS
    ]
    adjusted = statistics.holm([each.p_value for each in found])
    return tuple(
        dataclasses.replace(each, p_adjusted=p_adjusted)
        for each, p_adjusted in zip(found, adjusted, strict=True)
        if p_adjusted is not None
    )


def sentence(joint: Sequence[Joint]) -> str:
    """Return how wide the ranges are, and which groups differ jointly; empty without groups."""
    of_accuracy = [each for each in joint if each.metric == ACCURACY]
    tables = [each for each in of_accuracy if each.of.startswith("Table")]
    if not tables:
        return ""
    widths = ", ".join(f"{each.width:.1f} points in {each.of.lower()}" for each in tables)
    agree, n = (sum(getattr(each, name) for each in tables) for name in ("agree", "n"))
    apart = [each for each in of_accuracy if each.p_value < statistics.ALPHA]
    text = f"Of {n} accuracies of single configurations {agree} agree; a range is {widths} wide."
    if not apart:
        return f"{text} Jointly, no table and no family of models differs from print."
    said = "; ".join(
        f"{each.of} is {abs(each.difference):.2f} points "
        f"{'above' if each.difference > 0 else 'below'} print, {each.above} of {each.n} above "
        f"(p {p_text(each.p_value)}, adjusted {p_text(each.p_adjusted)})"
        for each in apart
    )
    return f"{text} Jointly they differ: {said}."


def joint_topic(joint: Sequence[Joint]) -> Topic | None:
    """Return the joint tests as a topic of the report; None without any."""
    if not joint:
        return None
    return Topic(
        title=TITLE,
        paragraphs=(
            "A published number agrees if it lies where one more run would fall. The range of a "
            "single run is wide, so that numbers can agree one by one and be above print all "
            f"together. {sentence(joint)}",
        ),
        head=(
            "Numbers",
            "Metric",
            "Agree",
            "Above print",
            "Width of a range",
            "Mean difference (95%)",
            "p",
            "p, adjusted",
        ),
        rows=tuple(_texts(each) for each in joint),
        align="llrrrrrr",
    )


def to_frame(joint: Iterable[Joint]) -> pd.DataFrame:
    """Return a row a group, for ``published-vs-measured-jointly.csv``."""
    rows = [
        {
            "of": each.of,
            "metric": each.metric,
            "n": each.n,
            "agree": each.agree,
            "above": each.above,
            "width": each.width,
            "difference": each.difference,
            "low": each.interval[0],
            "high": each.interval[1],
            "p_value": each.p_value,
            "p_adjusted": each.p_adjusted,
            "common_seeds": each.seeds,
        }
        for each in joint
    ]
    return pd.DataFrame(rows)


def _judged(paper: "Paper", evidence: Evidence, frame: pd.DataFrame) -> list[_Judged]:
    described = {table.number: table for table in paper.tables}
    rows = frame.to_dict("records")
    found = []
    for number, row in zip(paper.published.numbers, rows, strict=True):
        place = described[number.table].place(number)
        score = published_numbers.SCORES.get(number.metric)
        verdicts = (published_numbers.YES, published_numbers.NO)
        same_size = paper.study(place.study).same_size(paper.preset)
        if evidence.selection.preset not in same_size:
            continue
        if row["agrees"] not in verdicts or score is None or place.is_of_the_best:
            continue
        cells = [
            cell
            for cell in evidence.cells(place.study, **number.fields)
            if cell.finished and not cell.variant and score.metric in cell.metrics
        ]
        by_seed = _by_seed(cells, score)
        if not by_seed:
            continue
        own = statistics.mean_interval(list(by_seed.values()))
        noise = chance(evidence.selection, number.fields, score, own, fewest_images(cells))
        if noise is not None:
            named = {str(name): value for name, value in row.items()}
            found.append(_Judged(number, place.study, named, by_seed, noise))
    return found


def _by_seed(cells: Iterable[Cell], score: Score) -> dict[Any, float]:
    """Return the score of each seed; the mean of cells that differ in what is not printed."""
    of_seed = grouped(cells, lambda cell: cell.params.get(keys.SEED))
    return {
        seed: fmean(values_of(members, score.metric, score.scale))
        for seed, members in of_seed.items()
    }


def _test(of: str, metric: str, members: Sequence[_Judged], correlation: float) -> Joint:
    differences = [float(each.row["difference"]) for each in members]
    mean = fmean(differences)
    common = sorted(set.intersection(*(set(each.by_seed) for each in members)))
    if len(common) >= ENOUGH_SEEDS:
        means = [fmean(each.by_seed[seed] for each in members) for seed in common]
        deviation = stdev(means) * math.sqrt(1 + 1 / len(means))
        degrees: float = len(means) - 1
    else:
        common = []
        spread = [each.noise.deviation * math.sqrt(1 + 1 / each.noise.n) for each in members]
        alone = sum(s**2 for s in spread)
        variance = alone + correlation * (sum(spread) ** 2 - alone)
        deviation = math.sqrt(variance) / len(members)
        degrees = min(each.noise.degrees for each in members)
    p_value = float(2 * stats.t.sf(abs(mean) / deviation, degrees)) if deviation else 1.0
    reach = float(stats.t.ppf((1 + statistics.CONFIDENCE) / 2, degrees)) * deviation
    return Joint(
        of=of,
        metric=metric,
        n=len(members),
        agree=sum(each.row["agrees"] == published_numbers.YES for each in members),
        above=sum(difference > 0 for difference in differences),
        width=median(float(each.row["high"]) - float(each.row["low"]) for each in members),
        difference=mean,
        interval=(mean - reach, mean + reach),
        p_value=p_value,
        seeds=len(common),
    )


def _correlation(selection: Selection, study: str) -> float:
    """Return the mean correlation of a study's configurations over common seeds, at least 0.

    Of each model and data set (kernel, for SVMs), the correlation of the scores of two
    configurations of one seed; weighted by how many configurations there are.
    """
    score = published_numbers.SCORES[ACCURACY]
    cells = [c for c in selection.of(study) if c.finished and not c.variant]
    # With pinned memory and without, and 2 epochs and 5, can be one training.
    cells = [c for c in cells if not c.params.get(keys.PIN_MEMORY)]
    names = (keys.MODEL, keys.DATASET, keys.KERNEL, keys.EPOCHS)
    found = []
    for family in grouped(cells, lambda cell: cell.key(*names)).values():
        several = [_by_seed(group, score) for group in by_configuration(family)]
        several = [by_seed for by_seed in several if len(by_seed) > 1]
        common = sorted(set.intersection(*map(set, several))) if len(several) > 1 else []
        if len(common) > 1:
            values = np.array([[by_seed[seed] for seed in common] for by_seed in several])
            covariance = np.cov(values)
            alone = float(np.trace(covariance))
            if alone > 0:
                k = len(several)
                found.append((k, (float(covariance.sum()) - alone) / (k - 1) / alone))
    total = sum(k for k, _ in found)
    return max(0.0, sum(k * rho for k, rho in found) / total) if total else 0.0


def _family(number: Number) -> str:
    fields = number.fields
    kernel = f"SVM {fields[keys.KERNEL]}" if keys.KERNEL in fields else ""
    name = kernel or model_label(str(fields.get(keys.MODEL, "")))
    return f"{name} on {fields.get(keys.DATASET, 'all')} (table {number.table})"


def _texts(each: Joint) -> tuple[str, ...]:
    kind = QUANTITIES[each.metric].kind.difference
    difference, low, high = (
        minus(readable(value, kind)) for value in (each.difference, *each.interval)
    )
    return (
        each.of,
        QUANTITIES[each.metric].label,
        f"{each.agree} of {each.n}",
        f"{each.above} of {each.n}",
        readable(each.width, QUANTITIES[each.metric].kind),
        f"{difference} ({low} to {high})",
        p_text(each.p_value),
        p_text(each.p_adjusted),
    )
