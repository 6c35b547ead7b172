"""Section 5.2: the key takeaways of the study."""

from mnist_ops.compare import published
from mnist_ops.compare.cells import Cell
from mnist_ops.compare.findings import rules
from mnist_ops.compare.findings.claim import Claim
from mnist_ops.compare.findings.contrast import contrast
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.outcome import Outcome
from mnist_ops.compare.seed_noise import TRAIN_LOSS, TRAIN_TIME
from mnist_ops.core import keys

from .. import printed
from ..studies import RESNET_GRID
from .devices import (
    SPEEDUP,
    large_model_gains_more,
    printed_speedups,
    speedups,
)
from .resnets import (
    batch_sizes_differ_little,
    of_tables,
    peaks,
    small_against_large,
    table_cells,
)
from .svms import networks_beat_svms, printed_gain

SECTION = "5.2 Key takeaways"

_PREFERRED = {keys.OPTIMIZER: "Adam", keys.LEARNING_RATE: 0.001}
_OTHERS = (
    {keys.OPTIMIZER: "Adam", keys.LEARNING_RATE: 0.0001},
    {keys.OPTIMIZER: "SGD", keys.LEARNING_RATE: 0.001},
    {keys.OPTIMIZER: "SGD", keys.LEARNING_RATE: 0.0001},
)
_AT_LEAST = 5.0


def small_is_the_better_choice(evidence: Evidence) -> Outcome:
    """ResNet-18 has both the higher accuracy (`rules.higher`) and the shorter training.

    The latter is the training time of ResNet-50 over that of ResNet-18, by
    `rules.greater_ratio`. Both have to hold.
    """
    return rules.all_hold(
        {
            "Accuracy": rules.higher(evidence, small_against_large(evidence)),
            "Cost": rules.greater_ratio(
                evidence,
                of_tables(evidence, keys.MODEL, "resnet50", "resnet18", TRAIN_TIME),
                "training time of ResNet-50 over that of ResNet-18",
            ),
        }
    )


def large_overfits(evidence: Evidence) -> Outcome:
    """ResNet-50 fits the training images better, and yet is less accurate on the test images.

    The last epoch's training loss of ResNet-18 over that of ResNet-50, by `rules.greater_ratio`,
    and the test accuracies, by `rules.higher`; both have to hold. A network that is worse on the
    training images too does not overfit: it has not been trained enough.
    """
    return rules.all_hold(
        {
            "Training loss": rules.greater_ratio(
                evidence,
                small_against_large(evidence, TRAIN_LOSS),
                "training loss of ResNet-18 over that of ResNet-50",
            ),
            "Test accuracy": rules.higher(evidence, small_against_large(evidence)),
        }
    )


def preferred_is_best(evidence: Evidence) -> Outcome:
    """On each data set the best configuration with Adam at 0.001 against the best other one.

    Both are chosen on validation and compared on the test images, by `rules.by_comparison`; it
    has to hold on both data sets.
    """

    def preferred(cell: Cell) -> bool:
        return all(cell.params.get(name) == value for name, value in _PREFERRED.items())

    return peaks(evidence, preferred, lambda cell: not preferred(cell))


def preferred_is_better_throughout(evidence: Evidence) -> Outcome:
    """Adam at 0.001 against each other optimizer and learning rate, by `rules.higher`.

    Matched over the cells of tables 2 and 3; it has to hold against each of the three.
    """
    return rules.all_hold(
        {
            f"Against {other[keys.OPTIMIZER]} at {other[keys.LEARNING_RATE]}": rules.higher(
                evidence, contrast(table_cells(evidence), _PREFERRED, other)
            )
            for other in _OTHERS
        }
    )


def five_epochs_converge_further(evidence: Evidence) -> Outcome:
    """Training loss after 2 epochs over that after 5, by `rules.greater_ratio`.

    The loss of the last epoch, within the same training; test accuracy is claim 2.8.5's.
    """
    return rules.greater_ratio(
        evidence,
        contrast(evidence.cells(RESNET_GRID), {keys.EPOCHS: 2}, {keys.EPOCHS: 5}, TRAIN_LOSS),
        "training loss after 2 epochs over that after 5",
    )


def gpu_is_five_times_faster(evidence: Evidence) -> Outcome:
    """Training time on the CPU over that on the GPU is more than 5, by `rules.greater_ratio`."""
    return rules.greater_ratio(evidence, speedups(evidence), SPEEDUP, _AT_LEAST)


def gpu_is_always_faster(evidence: Evidence) -> Outcome:
    """Training is faster on the GPU in every configuration, by `rules.consistent`."""
    return rules.consistent(evidence, speedups(evidence), SPEEDUP)


def _printed_preferred() -> str:
    texts = []
    for other in _OTHERS:
        pairs = printed.matched((2, 3), published.ACCURACY, _PREFERRED, other)
        texts.append(
            f"against {other[keys.OPTIMIZER]} at {other[keys.LEARNING_RATE]} "
            f"{printed.accuracies(pairs)}"
        )
    return f"Tables 2 and 3: {'; '.join(texts)}"


def _printed_models() -> str:
    pairs = printed.matched(
        (2, 3), published.ACCURACY, {keys.MODEL: "resnet18"}, {keys.MODEL: "resnet50"}
    )
    times = printed.matched(
        (8,), published.TRAIN_TIME_S, {keys.MODEL: "resnet50"}, {keys.MODEL: "resnet18"}
    )
    return (
        f"Tables 2 and 3: ResNet-18 {printed.accuracies(pairs)}; table 8, time of ResNet-50 over "
        f"that of ResNet-18: {printed.ratios(times)}"
    )


def _printed_epochs() -> str:
    pairs = printed.matched((4,), published.ACCURACY, {keys.EPOCHS: 5}, {keys.EPOCHS: 2})
    return f"Table 4, accuracy: {printed.accuracies(pairs)}; no losses printed"


def _printed_batches() -> str:
    pairs = printed.matched(
        (2, 3), published.ACCURACY, {keys.BATCH_SIZE: 16}, {keys.BATCH_SIZE: 32}
    )
    return f"Tables 2 and 3: {printed.largest(pairs, 1)}"


CLAIMS = (
    Claim(
        "5.2.1",
        "ResNet-18 is the better choice: more accurate, and cheaper to train, than ResNet-50",
        _printed_models,
        small_is_the_better_choice,
    ),
    Claim(
        "5.2.1a",
        "ResNet-50 overfits: better on the training images, worse on the test images (also 2.8.1)",
        lambda: "no training losses or accuracies printed",
        large_overfits,
    ),
    Claim(
        "5.2.2a",
        "The most accurate network of each data set is trained with Adam at 0.001",
        lambda: f"Tables 2 and 3, best of each: {printed.optimizer_peaks()}",
        preferred_is_best,
    ),
    Claim(
        "5.2.2b",
        "Batch size, 16 or 32, hardly matters",
        _printed_batches,
        batch_sizes_differ_little,
    ),
    Claim(
        "5.2.2c",
        "5 epochs converge further than 2",
        _printed_epochs,
        five_epochs_converge_further,
    ),
    Claim(
        "5.2.3",
        "Networks are more accurate than support vector machines, which is worth their cost",
        printed_gain,
        networks_beat_svms,
    ),
    Claim(
        "5.2.4",
        "A GPU trains at least 5 times as fast as a CPU, 5 to 10 times in the study",
        printed_speedups,
        gpu_is_five_times_faster,
    ),
    Claim(
        "5.2.4a",
        "The larger the model, the more a GPU speeds it up",
        printed_speedups,
        large_model_gains_more,
    ),
    Claim(
        "5.2.5a",
        "Use ResNet-18 for similar image classification (tested on these two data sets only)",
        _printed_models,
        small_is_the_better_choice,
    ),
    Claim(
        "5.2.5b",
        "Prefer Adam at 0.001 to the other optimizers and learning rates",
        _printed_preferred,
        preferred_is_better_throughout,
    ),
    Claim(
        "5.2.5c",
        "Training is always faster on a GPU",
        printed_speedups,
        gpu_is_always_faster,
    ),
)
