"""The model registry: a registered model for each data set, a version for the best of each family.

A version is MLflow's pyfunc flavour of a folder of numbers (`mnist_ops.serving.inference`) and a
script (`served_model`), so that serving needs no pickle. It includes the modules that compute it:
another machine needs torch, torchvision, scikit-learn and safetensors only, and runs the code with
which the model was registered.
"""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.utils.mlflow_tags import (
    MLFLOW_MODEL_VERSIONS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_USER,
)
from numpy.typing import NDArray

import mnist_ops
from mnist_ops.core import keys
from mnist_ops.core.errors import InvalidInput, MnistOpsError
from mnist_ops.serving.inference import FOLDER, Description
from mnist_ops.study import dataset as datasets
from mnist_ops.study import lookup
from mnist_ops.study.model import check_name
from mnist_ops.study.specs import Spec, from_canonical
from mnist_ops.tracking import provenance
from mnist_ops.tracking.moved_artifacts import MODEL_DEPTH, artifact_location, beside_store

CHAMPION = "champion"
CHALLENGER = "challenger"

# Modules that `mnist_ops.serving.inference` imports; a served model contains copies of them.
SOURCES = (
    "__init__.py",
    "core/__init__.py",
    "core/errors.py",
    "core/keys.py",
    "core/lazy.py",
    "data/__init__.py",
    "data/catalog.py",
    "fitting/__init__.py",
    "fitting/compiled.py",
    "fitting/fast",
    "fitting/resnet/__init__.py",
    "fitting/resnet/catalog.py",
    "fitting/resnet/flops.py",
    "fitting/resnet/models.py",
    "fitting/resnet/torchvision_resnet.py",
    "fitting/rng.py",
    "serving/__init__.py",
    "serving/inference",
    "study/__init__.py",
    "study/dataset.py",
    "study/grids.py",
    "study/lookup.py",
    "study/method.py",
    "study/model.py",
    "study/paper.py",
    "study/results.py",
    "study/source.py",
    "study/specs.py",
)
# Requirements of these modules. MLflow would find them by running the model, which takes long.
_REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "scikit-learn",
    "scipy",
    "numpy",
    "safetensors",
    "platformdirs",
)
_OUTPUTS = Schema(
    [
        ColSpec(DataType.long, "class"),
        ColSpec(DataType.string, "class_name"),
        ColSpec(DataType.double, "probability"),
        ColSpec(DataType.string, "unlike"),
    ]
)
_SERVED_MODEL = Path(__file__).with_name("served_model.py")
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        model: name of the registered model.
        number: of the version, from 1.
        tags: of the version.
    """

    model: str
    number: int
    tags: dict[str, str]


def registered_model(dataset: str) -> str:
    """Return the name of the registered model of a data set, known here or not."""
    if dataset in lookup.known("datasets"):
        return datasets.named(dataset).registered_model
    return datasets.registered_model_of(check_name("a data set", dataset))


def recorded_spec(run: Run) -> Spec:
    """Return the spec of a cell's run.

    Raises:
        InvalidInput: the run has no spec, or one with another fingerprint.
    """
    spec = from_canonical(run.data.tags.get(keys.SPEC, ""))
    if spec.fingerprint != run.data.tags.get(keys.FINGERPRINT):
        raise InvalidInput(f"run {run.info.run_id} has another fingerprint than its spec")
    return spec


def recorded_digest(run: Run) -> str | None:
    """Return the digest of a run's data set; None if it was not logged."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return next((given.dataset.digest for given in inputs), None)


def versions(client: MlflowClient, model: str) -> list[Version]:
    """Return all versions of a registered model, the latest first; an empty list without one."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(
            f"name = '{model}'", max_results=_PAGE, page_token=token
        )
        found += page
        if not (token := page.token):
            break
    return sorted((_version(each) for each in found), key=lambda each: -each.number)


def aliased(client: MlflowClient, model: str, alias: str) -> Version | None:
    """Return the version of a registered model with an alias; None without one."""
    try:
        return _version(client.get_model_version_by_alias(model, alias))
    except MlflowException as error:
        # A model without that alias is an INVALID_PARAMETER_VALUE, and no model a
        # RESOURCE_DOES_NOT_EXIST.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def set_alias(client: MlflowClient, version: Version, alias: str) -> None:
    """Set the alias on `version`, and remove it from any other version."""
    client.set_registered_model_alias(version.model, alias, str(version.number))


def remove_alias(client: MlflowClient, model: str, alias: str) -> None:
    """Remove the alias from the version that has it."""
    client.delete_registered_model_alias(model, alias)


def register(
    client: MlflowClient,
    folder: Path,
    description: Description,
    cell: Run,
    example: NDArray[np.uint8],
    note: str,
) -> Version:
    """Register the model in `folder` as the next version of its data set's registered model.

    The fit of the model is tracked as a run of its own, a child of the cell's run.

    Args:
        client: of the store.
        folder: of the model, written by `mnist_ops.serving.inference.write`.
        description: of the model.
        cell: the run whose spec was fitted again.
        example: an input image, uint8.
        note: how the model agrees with the cell's run; Markdown.
    """
    model = registered_model(description.spec.dataset)
    tags = {
        keys.FAMILY: description.spec.family,
        # Of the cell: without its device the model was fitted to another spec.
        keys.FINGERPRINT: cell.data.tags[keys.FINGERPRINT],
        keys.REFIT_OF: cell.info.run_id,
        keys.DATASET_DIGEST: description.dataset_digest,
        keys.SPEC: description.spec.canonical,
        **{
            f"{keys.METRIC}.{name}": repr(description.metrics[name])
            for name in (keys.VAL_ACCURACY, keys.TEST_ACCURACY, keys.TEST_F1, keys.TEST_F1_MACRO)
        },
    }
    run_id = _open_run(client, description.spec, cell, note)
    about = f"{description.spec.description}. {note}"
    try:
        logged = client.create_logged_model(
            cell.info.experiment_id,
            # Not the cell's name: MLflow allows no dots, which learning rates have.
            f"{description.spec.model}-{description.spec.dataset.lower()}",
            source_run_id=run_id,
            tags=tags | {MLFLOW_RUN_NOTE: about},
            params=cell.data.params,
        )
        with tempfile.TemporaryDirectory() as temporary:
            saved = Path(temporary) / "model"
            flavour = Model(
                artifact_path=logged.artifact_location,
                run_id=run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            )
            _save(saved, folder, flavour, example, Path(temporary) / mnist_ops.__name__)
            client.log_model_artifacts(logged.model_id, str(saved))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        now = int(time.time() * 1000)
        metrics = [
            Metric(
                name,
                value,
                now,
                0,
                model_id=logged.model_id,
                dataset_name=description.spec.dataset,
                dataset_digest=description.dataset_digest,
                run_id=run_id,
            )
            for name, value in description.metrics.items()
        ]
        client.log_batch(run_id, metrics=metrics)
        height, width = description.data.image_size
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(
                model,
                description=f"The best models on {description.spec.dataset}, one of each family a "
                f"version. Takes uint8 images of {height}x{width}; `champion` is the one to use.",
            )
        made = client.create_model_version(
            model,
            source=f"models:/{logged.model_id}",
            run_id=run_id,
            tags=tags,
            description=about,
            model_id=logged.model_id,
        )
        # By this tag MLflow's page of the model names its versions.
        versions = json.dumps([{"name": made.name, "version": made.version}])
        client.set_logged_model_tags(logged.model_id, {MLFLOW_MODEL_VERSIONS: versions})
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return _version(made)


def fetch(client: MlflowClient, version: Version, folder: Path, file: str = "") -> Path:
    """Download the model's files, or one of them, into `folder`; return their path.

    Raises:
        MnistOpsError: the artifacts cannot be downloaded.
    """
    try:
        root = client.get_model_version_download_uri(version.model, str(version.number))
        if folder_here := beside_store(client, root, MODEL_DEPTH):
            root = artifact_location(folder_here)
        path = f"{root}/artifacts/{FOLDER}" + (f"/{file}" if file else "")
        got = mlflow.artifacts.download_artifacts(
            artifact_uri=path, dst_path=str(folder), tracking_uri=client.tracking_uri
        )
    except (MlflowException, OSError) as error:
        raise MnistOpsError(
            f"version {version.number} of {version.model} cannot be downloaded: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    return Path(got)


def _open_run(client: MlflowClient, spec: Spec, cell: Run, note: str) -> str:
    """Open a run with the role ``champion``; without a fingerprint, it does not count as a cell."""
    tags = {
        MLFLOW_USER: provenance.user(),
        MLFLOW_SOURCE_NAME: "mnist-ops champion",
        MLFLOW_PARENT_RUN_ID: cell.info.run_id,
        MLFLOW_RUN_NOTE: note,
        keys.ROLE: keys.ROLE_CHAMPION,
        keys.REFIT_OF: cell.info.run_id,
        **provenance.tags(spec.device),
    }
    name = f"champion-{spec.name}"
    run = client.create_run(cell.info.experiment_id, tags=tags, run_name=name)
    for param, value in spec.params.items():
        client.log_param(run.info.run_id, param, value)
    return str(run.info.run_id)


def _save(
    saved: Path, folder: Path, flavour: Model, example: NDArray[np.uint8], sources: Path
) -> None:
    package = Path(mnist_ops.__file__).parent
    sources.mkdir()
    for name in SOURCES:
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        if (package / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package / name, sources / name, ignore=ignored)
        else:
            shutil.copy(package / name, sources / name)
    images = TensorSpec(example.dtype, (-1, *example.shape))
    requirements = [f"{name}=={_public(metadata.version(name))}" for name in _REQUIREMENTS]
    mlflow.pyfunc.save_model(
        saved,
        python_model=str(_SERVED_MODEL),
        artifacts={FOLDER: str(folder)},
        code_paths=[str(sources)],
        mlflow_model=flavour,
        signature=ModelSignature(inputs=Schema([images]), outputs=_OUTPUTS),
        input_example=example[None],
        pip_requirements=requirements,
    )
    # Remove paths of this machine.
    pyfunc = flavour.flavors[mlflow.pyfunc.FLAVOR_NAME]
    pyfunc["model_code_path"] = _SERVED_MODEL.name
    pyfunc["artifacts"] = {FOLDER: {"path": f"artifacts/{FOLDER}", "uri": FOLDER}}
    flavour.save(str(saved / "MLmodel"))


def _public(version: str) -> str:
    """Return a version without its local part, such as ``+cpu`` in ``2.11.0+cpu``."""
    return version.partition("+")[0]


def _version(found: ModelVersion) -> Version:
    return Version(found.name, int(found.version), dict(found.tags))
