"""Which cell a run is of, where its fingerprint is not one of ours.

A store that somebody else wrote names the same cells with fingerprints of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mnist_ops.compare.cells import IDENTITY, run_params, spec_params
from mnist_ops.compare.runs import FINGERPRINT, STUDY
from mnist_ops.core import keys
from mnist_ops.study.specs import Spec

_Identity = tuple[Any, ...]


def matched_fingerprints(
    rows: Iterable[Mapping[str, Any]], specs: Sequence[Spec]
) -> list[str | None]:
    """Return the fingerprint of each run's cell.

    Its own if it is that of a spec, or None if the params are then those of another; else that of
    the one spec of its study that agrees in every identity param that the run has. A run that could
    be of several specs, for want of params, is left as it is. Of runs beyond the specs those with
    the same params get one fingerprint.

    Args:
        rows: of `runs.typed`, each with a fingerprint.
        specs: the expected cells.
    """
    ours = {spec.fingerprint: spec_params(spec) for spec in specs}
    # By study and seed, and by study alone for runs that have no seed.
    candidates: dict[_Identity, list[tuple[Mapping[str, Any], str]]] = {}
    for spec in specs:
        for place in ((spec.study, spec.seed), (spec.study, None)):
            candidates.setdefault(place, []).append((ours[spec.fingerprint], spec.fingerprint))
    beyond: dict[_Identity, str] = {}
    # Runs of one set of params are common (seeds repeated, thousands of rows): look each up once.
    found: dict[_Identity, str | None] = {}
    fingerprints: list[str | None] = []
    for row in rows:
        own = str(row[FINGERPRINT])
        params = {name: v for name, v in run_params(row).items() if name in IDENTITY}
        if own in ours:
            agrees = all(ours[own].get(name, value) == value for name, value in params.items())
            fingerprints.append(own if agrees else None)
            continue
        identity = (row[STUDY], *sorted(params.items()))
        if identity not in found:
            place = (str(row[STUDY]), params.get(keys.SEED))
            found[identity] = _only_match(params, candidates.get(place, []))
        # Runs without params are not the same cell for that.
        fingerprints.append(
            found[identity] or (beyond.setdefault(identity, own) if params else own)
        )
    return fingerprints


def _only_match(
    params: Mapping[str, Any], candidates: Iterable[tuple[Mapping[str, Any], str]]
) -> str | None:
    """Return the fingerprint of the only candidate with these params; None for none or several."""
    agreeing = [
        fingerprint
        for wanted, fingerprint in candidates
        if all(name in wanted and wanted[name] == value for name, value in params.items())
    ]
    return agreeing[0] if len(agreeing) == 1 else None
