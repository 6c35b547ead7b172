"""The benchmarks: opponents that train in turns, ratios, and the tables in the documents."""

import json
import sys
from pathlib import Path

import pytest

from mnist_ops.compare.sections import marks
from tests.benchmarks import page, turns

TRAINING = {
    "model": "resnet18",
    "dataset": "MNIST",
    "batch_size": 4,
    "optimizer": "SGD",
    "precision": "float32",
}
FIGURES = json.loads(page.FIGURES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", page.DOCUMENTS)
def test_tables_in_the_documents_are_those_of_the_figures(name: str) -> None:
    begin, end = marks(name)
    _, _, rest = page.DOCUMENTS[name].read_text(encoding="utf-8").partition(f"{begin}\n\n")
    assert rest.partition(f"\n{end}\n")[0] == page.sections(FIGURES)[name]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["tutorial", "smart"])
def test_an_opponent_trains_in_turns_and_names_its_kernels(script: str, small_data: Path) -> None:
    opponent = turns.Contestant.opponent(
        script, script, small_data, sys.executable, a_core=script == "smart"
    )
    try:
        opponent.ready()
        for precision in ("float32", "bfloat16"):
            opponent.prepare(TRAINING | {"precision": precision})
            turn = opponent.turn(0.01)
            assert turn["images_per_second"] > 0
            assert turn["memory"] > 1e8
        kernels = opponent.kernels()
        assert 0 < sum(kernels["implementations"].values()) <= 1
        assert opponent.turn(0.01)["images_per_second"] > 0
    finally:
        opponent.close()


def test_turns_that_others_disturbed_do_not_count() -> None:
    def turn(rate: float, others: float = 0.0) -> dict[str, float]:
        return {"images_per_second": rate, "others": others}

    quiet = [(turn(300), turn(100)), (turn(200), turn(100)), (turn(400), turn(100))]
    disturbed = [(turn(900, others=0.5), turn(100)), (turn(900), turn(100, others=0.5))]
    found = turns.ratios(quiet + disturbed, turns.OTHERS_CORES)
    assert found == {"median": 3, "low": 2, "high": 4, "n": 3}
    assert turns.shown(found) == "3.00 (2.00 to 4.00, n 3)"
    assert turns.ratios(quiet[:2] + disturbed, turns.OTHERS_CORES) is None


def test_contestants_take_turns_in_either_order() -> None:
    order = []
    works = {name: lambda name=name: order.append(name) for name in ("ours", "theirs")}
    turns.in_turns(works, 2)
    assert order == ["ours", "theirs", "theirs", "ours"]
