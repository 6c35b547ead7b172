"""Section 4.5: the study's findings on CPU against GPU."""

from statistics import fmean

from mnist_ops.compare import published
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.contrast import Contrast, contrast
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Verdict
from mnist_ops.compare.findings.outcome import Outcome, nothing
from mnist_ops.compare.seed_noise import TRAIN_TIME
from mnist_ops.core import keys
from mnist_ops.study.specs import DEVICES

from .. import printed
from ..studies import DEVICE_COMPARE, RESNET_GRID

SECTION = "4.5 Q2 Key findings"
SPEEDUP = "speed-up: training time on the CPU over that on the GPU"

_CPU, _GPU = {keys.DEVICE: "cpu"}, {keys.DEVICE: "cuda"}
_FLOPS_RATIO = 2.37


def gpu_is_faster(evidence: Evidence) -> Outcome:
    """Training time on the CPU over that on the GPU, by `rules.greater_ratio`.

    That it is faster is tested; by how much depends on the two devices.
    """
    return rules.greater_ratio(evidence, speedups(evidence), SPEEDUP)


def large_model_gains_more(evidence: Evidence) -> Outcome:
    """The speed-up of ResNet-50 over that of ResNet-18, by `rules.greater_effect`."""
    unit = "speed-up of ResNet-50 over that of ResNet-18"
    pairs = speedups(evidence)
    return rules.greater_effect(evidence, pairs, unit, keys.MODEL, "resnet50", "resnet18")


def accuracies_are_comparable(evidence: Evidence) -> Outcome:
    """Test accuracy on the CPU against that on the GPU, by `rules.little_difference`.

    "Comparable" is within one point, the study's own measure of a small difference.
    """
    return rules.little_difference(evidence, contrast(evidence.cells(DEVICE_COMPARE), _CPU, _GPU))


def large_model_needs_more_flops(evidence: Evidence) -> Outcome:
    """FLOPs of ResNet-50 over those of ResNet-18, as the runs logged them; a count, not a test.

    Supported if the ratio is the printed one to its last digit.
    """
    flops = {}
    for model in ("resnet18", "resnet50"):
        cells = evidence.cells(RESNET_GRID, DEVICE_COMPARE, model=model)
        counts = [cell.metrics[keys.FLOPS] for cell in cells if keys.FLOPS in cell.metrics]
        if not counts or min(counts) <= 0:
            return nothing(f"a finished run of {model} with its FLOPs")
        flops[model] = fmean(counts)
    ratio = flops["resnet50"] / flops["resnet18"]
    same = round(ratio, 2) == _FLOPS_RATIO
    return Outcome(
        Verdict.SUPPORTED if same else Verdict.REFUTED,
        effect=ratio,
        effect_unit="FLOPs of ResNet-50 over those of ResNet-18",
        n=2,
        explanation=(
            f"{flops['resnet50']:,.0f} over {flops['resnet18']:,.0f} FLOPs is {ratio:.2f}. "
            "Whether that explains a larger speed-up is not tested; 4.5.2 is."
        ),
    )


def adam_takes_longer(evidence: Evidence) -> Outcome:
    """Training time with Adam over that with SGD on each device, by `rules.greater_ratio`.

    Matched over all trainings on the device whose time is their own; it has to hold on both.
    """
    parts = {}
    for device in DEVICES:
        cells = evidence.cells(RESNET_GRID, DEVICE_COMPARE, device=device)
        measured = [cell for cell in cells if not evidence.copied(cell)]
        pairs = contrast(measured, {keys.OPTIMIZER: "Adam"}, {keys.OPTIMIZER: "SGD"}, TRAIN_TIME)
        parts[device.upper()] = rules.greater_ratio(
            evidence, pairs, "training time with Adam over that with SGD"
        )
    return rules.all_hold(parts)


def speedups(evidence: Evidence) -> Contrast:
    """Training times on the CPU matched with those on the GPU."""
    return contrast(evidence.cells(DEVICE_COMPARE), _CPU, _GPU, TRAIN_TIME)


def printed_speedups() -> str:
    """Every speed-up that the study prints."""
    return f"Table 9: {printed.each(9, published.SPEEDUP, keys.MODEL, keys.OPTIMIZER)}"


def _printed_accuracies() -> str:
    pairs = printed.matched((8,), published.ACCURACY, _CPU, _GPU)
    return f"Table 8: {printed.largest(pairs, 1)}"


def _printed_overhead() -> str:
    pairs = printed.matched(
        (8,), published.TRAIN_TIME_S, {keys.OPTIMIZER: "Adam"}, {keys.OPTIMIZER: "SGD"}
    )
    return f"Table 8, time with Adam over that with SGD: {printed.ratios(pairs)}"


CLAIMS = (
    Claim(
        "4.5.1",
        "A GPU trains significantly faster than a CPU, 5.43 to 10.19 times in the study",
        printed_speedups,
        gpu_is_faster,
    ),
    Claim(
        "4.5.2",
        "ResNet-50 gains more from a GPU than ResNet-18",
        printed_speedups,
        large_model_gains_more,
    ),
    Claim(
        "4.5.3",
        "CPU and GPU give comparable accuracies",
        _printed_accuracies,
        accuracies_are_comparable,
    ),
    Claim(
        "4.5.4",
        "ResNet-50 needs 2.37 times the FLOPs of ResNet-18",
        lambda: f"Table 10: {printed.each(10, published.FLOPS, keys.MODEL)}",
        large_model_needs_more_flops,
    ),
    Claim(
        "4.5.5",
        "Adam takes longer than SGD on both devices",
        _printed_overhead,
        adam_takes_longer,
    ),
)
