"""The published study as one `Paper`."""

from collections.abc import Mapping
from importlib.resources import files

from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.findings.evidence import Size
from mnist_ops.compare.paper import Paper
from mnist_ops.compare.results import Results, Source

from .extra_analyses import extra_analyses
from .findings import CLAIMS
from .headlines import headlines
from .printed import PUBLISHED
from .studies import PRESET, STUDIES
from .tables import TABLES
from .tables.best import best_results


def _figures(results: Results, source: Source) -> list[Figure]:
    from .figures import figures

    return figures(results, source)


_SIZES = {
    "quick": Size(
        scope="quick: a few hundred images a run",
        about="At preset quick each run sees a few hundred images: the accuracies below show the "
        "shape of the study, not its results.",
        more="preset paper or rigorous: more images and seeds",
    ),
    PRESET: Size(
        scope="paper: the study's own sizes",
        about="At preset paper the runs are as large as the study says its own were.",
        more="preset rigorous: more seeds",
    ),
    "rigorous": Size(
        scope="rigorous: all images",
        about="At preset rigorous each configuration runs with five seeds, and the support vector "
        "machines see all 49,000 training images.",
    ),
}

_LAYOUT: Mapping[str, tuple[int | str, ...]] = {
    "Setup": (1,),
    "Q1(a) ResNet-18 and ResNet-50": (
        "figure-01",
        2,
        3,
        "figure-02a",
        "figure-02b",
        "figure-03",
        "figure-04",
        4,
        "learning-curves",
        "confusion-mnist",
        "confusion-fashionmnist",
    ),
    "Q1(b) Support vector machines": (
        "figure-05",
        5,
        6,
        7,
        "accuracy-against-time",
        "accuracy-against-flops",
    ),
    "Q2 CPU against GPU": ("figure-06", "figure-07", "figure-08", 8, 9, 10),
    "Summary": (11,),
}

PAPER = Paper(
    name="published",
    title="Deep Learning Experiments on MNIST and FashionMNIST",
    source="Vasishth Bhatt, MLOps Assignment 1, January 24, 2026",
    address="https://duckquack123.github.io/MLOps-Vasishth-M25CSA007/",
    subject="MNIST and FashionMNIST",
    studies=STUDIES,
    preset=PRESET,
    sizes=_SIZES,
    published=PUBLISHED,
    tables=TABLES,
    claims=CLAIMS,
    headlines=headlines,
    figures=_figures,
    extra_analyses=extra_analyses,
    layout=_LAYOUT,
    best=best_results,
    # The most informative figures.
    summary_figures={
        "published-against-measured": "Every published accuracy against the measured one",
        "figure-01": "Accuracy of the ResNets, published and measured",
        "accuracy-against-time": "Accuracy against training time",
    },
    # What the study answers its questions with: of each takeaway the claim that carries it.
    key_claims=("5.2.1", "5.2.1a", "5.2.2a", "5.2.2b", "5.2.2c", "3.5.1", "5.2.3", "5.2.4"),
    full_size="Results at the study's own size: make report shows the recorded runs, mnist-ops run "
    "all --preset paper computes them.",
    baseline=files(__package__).joinpath("baseline.json"),
)
PAPERS = {PAPER.name: PAPER}
