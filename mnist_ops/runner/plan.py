"""Plan a study: which of its cells the devices at hand can compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_ops.core import cuda
from mnist_ops.core.errors import InvalidInput
from mnist_ops.runner.own_code import check_models
from mnist_ops.runner.settings import Settings
from mnist_ops.runner.workers import WorkersUnavailable
from mnist_ops.study.grids import Study
from mnist_ops.study.specs import DEVICES, Spec

NO_CUDA = "not measured: no CUDA device"


@dataclass(frozen=True)
class Plan:
    """The cells of one study.

    Attributes:
        study: the study.
        cells: the cells to compute.
        not_measured: cells that no device at hand can compute -> the reason.
    """

    study: Study
    cells: tuple[Spec, ...]
    not_measured: Mapping[Spec, str]


def plan(study: Study, settings: Settings, *, has_cuda: bool) -> Plan:
    """Plan `study` for workers with or without a CUDA device.

    Raises:
        InvalidInput: a setting has a value that is not allowed.
        WorkersUnavailable: the settings name a CUDA device, and there is none.
    """
    devices = _devices(study, settings.device, has_cuda=has_cuda)
    cells = study.with_axes({"device": devices}).cells(settings.preset, settings.choices)
    if settings.only is not None:
        cells = [cell for cell in cells if cell in settings.only]
    left_out = {cell: NO_CUDA for cell in cells if cell.device == "cuda" and not has_cuda}
    return Plan(study, tuple(cell for cell in cells if cell not in left_out), left_out)


def plan_locally(studies: Sequence[Study], settings: Settings) -> list[Plan]:
    """Plan `studies` for this machine, as a run without a scheduler does."""
    has_cuda = cuda.is_available()
    plans = [plan(study, settings, has_cuda=has_cuda) for study in studies]
    check_models(cell for each in plans for cell in each.cells)
    return plans


def _devices(study: Study, asked: str, *, has_cuda: bool) -> tuple[Any, ...]:
    of_grid = study.grid["device"]
    if asked not in ("auto", *DEVICES):
        raise InvalidInput.not_one_of("device", asked, ("auto", *DEVICES))
    if asked == "cuda" and "cuda" not in of_grid and "auto" not in of_grid:
        return of_grid
    if asked == "cuda" and not has_cuda:
        raise WorkersUnavailable("device cuda: no CUDA device found; use --device cpu or auto")
    if asked != "auto":
        return (asked,)
    if "auto" in of_grid:
        return ("cuda" if has_cuda else "cpu",)
    return of_grid
