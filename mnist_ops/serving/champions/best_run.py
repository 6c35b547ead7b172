"""Choose the best run of a data set and family, by validation accuracy."""

from dataclasses import dataclass

import pandas as pd

from mnist_ops.compare.runs import FAMILY, typed
from mnist_ops.core import keys
from mnist_ops.study import lookup


@dataclass(frozen=True)
class Candidate:
    """A run to fit again.

    Attributes:
        run_id: of the cell's run.
        name: of the cell.
        dataset: its data set.
        family: name of its method.
        val_accuracy: 0 to 1.
        n_val: number of validation images.
        fingerprint: of the cell.
    """

    run_id: str
    name: str
    dataset: str
    family: str
    val_accuracy: float
    n_val: int
    fingerprint: str


def best(runs: pd.DataFrame, dataset: str, family: str) -> Candidate | None:
    """Return the finished run with the highest validation accuracy; None without one.

    Only runs with the largest number of validation images are compared. Of equal ones, take the run
    with the fewest FLOPs per image, then the fewest epochs, then the first by name.

    Args:
        runs: a row per run, as from `mnist_ops.tracking.cell_runs`.
        dataset: name of a data set.
        family: name of a method.
    """
    runs = typed(runs)
    # Another program's runs have no spec, which names it.
    models = lookup.named("methods", family).spec.models()
    of_family = runs[FAMILY].fillna("").eq(family)
    of_family |= runs[FAMILY].isna() & runs[keys.MODEL].isin(models)
    mine = runs[
        (runs["status"] == "FINISHED")
        & (runs[keys.DATASET] == dataset)
        & of_family
        & runs[keys.VAL_ACCURACY].notna()
        & runs[keys.N_VAL].notna()
    ]
    if mine.empty:
        return None
    order = pd.DataFrame(
        {
            "n_val": -mine[keys.N_VAL],
            "accuracy": -mine[keys.VAL_ACCURACY],
            "flops": mine[keys.FLOPS],
            "epochs": mine[keys.EPOCHS].fillna(0),
            "name": mine["name"],
        }
    )
    row = mine.loc[order.sort_values(list(order.columns), kind="stable").index[0]]
    return Candidate(
        run_id=row["run_id"],
        name=row["name"],
        dataset=dataset,
        family=family,
        val_accuracy=float(row[keys.VAL_ACCURACY]),
        n_val=int(row[keys.N_VAL]),
        fingerprint=row["fingerprint"],
    )
