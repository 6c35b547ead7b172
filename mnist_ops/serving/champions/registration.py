"""Register the best runs of a store, and set the aliases of champions and challengers."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.core import keys
from mnist_ops.core.errors import MnistOpsError
from mnist_ops.serving import inference, registry, verify
from mnist_ops.serving.champions import promotion, refit
from mnist_ops.serving.champions.best_run import Candidate, best
from mnist_ops.serving.champions.promotion import Verdict
from mnist_ops.serving.registry import CHALLENGER, CHAMPION, Version
from mnist_ops.serving.seed_noise import Noise, SeedNoise
from mnist_ops.serving.verify import Watch
from mnist_ops.study import lookup
from mnist_ops.study.model import check_registered, named
from mnist_ops.study.results import Predictions
from mnist_ops.study.specs import Spec
from mnist_ops.tracking.deleted import how_to_restore

Log = Callable[[str], None]


class NoCandidates(MnistOpsError):
    """There is no finished run to register."""


@dataclass(frozen=True)
class Registered:
    """The registered best run of a family.

    Attributes:
        candidate: the run.
        version: its version of the registered model.
        is_new: whether it was registered now.
    """

    candidate: Candidate
    version: Version
    is_new: bool


@dataclass(frozen=True)
class Report:
    """Result for a data set.

    Attributes:
        dataset: its name.
        registered: the best run of each family.
        contender: the best of them, by validation accuracy.
        verdict: decision on the contender.
    """

    dataset: str
    registered: tuple[Registered, ...]
    contender: Registered
    verdict: Verdict


def register_best(
    uri: str,
    datasets: Sequence[str],
    *,
    preset: str | None = None,
    data_dir: Path | None = None,
    log: Log = lambda line: None,
    watch: Watch = lambda spec, steps: nullcontext(lambda: None),
) -> list[Report]:
    """Register the best run of each family of each data set, and name the champions.

    A run that is registered already is not fitted again.

    Args:
        uri: of the tracking store.
        datasets: names of data sets.
        preset: value of the preset tag of the runs; None is any.
        data_dir: folder of the data sets; None is the default one.
        log: gets lines for the user.
        watch: shows a fit.

    Raises:
        NoCandidates: no data set has a finished run.
        RefitDiffers: a refit is worse than its run by more than seed noise.
        DataUnavailable: a data set is missing or damaged.
        TrackingUnavailable: the store cannot be read or written.
        NotWritable: permission to write the store is missing.
    """
    client = tracking.connect(uri, create=False)
    # Checked before the fits.
    tracking.check_writable(uri)
    with tracking.tracking_errors(uri):
        tracking.repoint_moved(uri, log)
        runs = tracking.cell_runs(client, log, known_spec=True)
        if preset is not None and not runs.empty:
            runs = runs[runs["preset"] == preset]
        reports = [
            report
            for dataset in datasets
            if (report := _dataset(client, runs, dataset, data_dir, log, watch))
        ]
    if not reports:
        which = f"at preset {preset} " if preset else ""
        study = "all" if set(datasets) <= set(lookup.known("datasets")) else "FILE.py"
        raise NoCandidates(
            f"no finished run {which}of {' or '.join(datasets)} in {tracking.without_password(uri)}"
            f" can be registered: `mnist-ops run {study}` computes them{how_to_restore(client)}"
        )
    return reports


def _dataset(
    client: MlflowClient,
    runs: pd.DataFrame,
    dataset: str,
    data_dir: Path | None,
    log: Log,
    watch: Watch,
) -> Report | None:
    candidates = []
    for family in lookup.known("methods"):
        if (found := _best_here(client, runs, dataset, family, log)) is None:
            continue
        if lookup.named("methods", family).model_format:
            candidates.append(found)
        else:
            log(f"{found.name}: not registered, as an estimator cannot be kept without a pickle")
    if not candidates:
        log(f"{dataset}: no finished run to register")
        return None
    registered = [_registered(client, each, data_dir, log, watch) for each in candidates]
    contender = max(registered, key=lambda each: each.candidate.val_accuracy)
    return Report(dataset, tuple(registered), contender, _decide(client, contender))


def _best_here(
    client: MlflowClient, runs: pd.DataFrame, dataset: str, family: str, log: Log
) -> Candidate | None:
    """Return the best run whose code and images are those that the user has now."""
    others = 0
    while found := best(runs, dataset, family):
        spec = registry.recorded_spec(client.get_run(found.run_id))
        if not _has_changed(spec):
            break
        runs = runs[runs["run_id"] != found.run_id]
        others += 1
    if others:
        log(f"{dataset}: {others:,} better runs left out, whose code or images changed since")
    return found


def _has_changed(spec: Spec) -> bool:
    """Return whether the user's function or images are others than `spec` has."""
    if spec.code:
        check_registered("models", spec.model)
    code = named(spec.model).code if spec.code else ""
    images = spec.data.digest if spec.data_digest else ""
    return (code, images) != (spec.code, spec.data_digest)


def _registered(
    client: MlflowClient, candidate: Candidate, data_dir: Path | None, log: Log, watch: Watch
) -> Registered:
    run = client.get_run(candidate.run_id)
    spec = registry.recorded_spec(run)
    images = verify.images_of(run, spec, data_dir)
    for version in registry.versions(client, registry.registered_model(candidate.dataset)):
        same = {
            keys.FINGERPRINT: candidate.fingerprint,
            keys.DATASET_DIGEST: images.digest,
        }
        if same.items() <= version.tags.items():
            if why := _unusable(client, version):
                log(f"{candidate.name}: {why}; it is registered again")
                break
            log(f"{candidate.name}: registered before, version {version.number}")
            return Registered(candidate, version, is_new=False)
    log(f"{candidate.name}: fitting it again, validation accuracy {candidate.val_accuracy:.2%}")
    with watch(spec, verify.steps(spec, images)) as on_step:
        made = refit.refit(spec, images, on_step, verify.instructions(run, spec).used)

    def noise(accuracy: float, n_test: int) -> Noise:
        return SeedNoise(tracking.counted_runs(client)).between(spec, accuracy, n_test)

    logged = tracking.predictions(client, candidate.run_id)
    agreement = refit.agreement(made.test, logged, noise)
    log(f"{candidate.name}: {agreement.text}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / inference.FOLDER
        folder.mkdir()
        inference.write(folder, made.description, made.made, made.detector, made.test)
        example = images.images[int(made.test.index[0])]
        note = agreement.text[0].upper() + agreement.text[1:] + "."
        version = registry.register(client, folder, made.description, run, example, note)
    return Registered(candidate, version, is_new=True)


def _decide(client: MlflowClient, contender: Registered) -> Verdict:
    version = contender.version
    champion = registry.aliased(client, version.model, CHAMPION)
    if champion is None:
        verdict = Verdict(True, "the first")
    elif champion.number == version.number:
        verdict = Verdict(True, "as before")
    elif champion.tags.get(keys.DATASET_DIGEST) != version.tags.get(keys.DATASET_DIGEST):
        verdict = Verdict(False, "the champion was tested on other images")
    elif _unusable(client, champion):
        verdict = Verdict(True, f"the champion before, version {champion.number}, cannot be loaded")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            mine, theirs = (
                _test_predictions(client, each, Path(temporary) / str(each.number))
                for each in (version, champion)
            )
        verdict = promotion.against(mine, theirs)
    if verdict.promoted:
        registry.set_alias(client, version, CHAMPION)
        challenger = registry.aliased(client, version.model, CHALLENGER)
        if challenger and challenger.number == version.number:
            registry.remove_alias(client, version.model, CHALLENGER)
    else:
        registry.set_alias(client, version, CHALLENGER)
    return verdict


def _unusable(client: MlflowClient, version: Version) -> str | None:
    """Return the reason why a registered model cannot be loaded; None if it can."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            inference.Classifier.load(registry.fetch(client, version, Path(temporary)))
        except MnistOpsError as error:
            return str(error)
    return None


def _test_predictions(client: MlflowClient, version: Version, folder: Path) -> Predictions:
    folder.mkdir()
    return inference.read_test_predictions(
        registry.fetch(client, version, folder, inference.TEST_PREDICTIONS).parent
    )
