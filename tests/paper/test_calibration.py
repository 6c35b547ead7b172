"""How often verdicts are wrong where the truth is known: a small form of the benchmark."""

import pytest
from scipy import stats

from mnist_ops.compare.findings.finding import Verdict
from tests.benchmarks import calibration

STORES = 20


@pytest.fixture(autouse=True)
def no_analyses_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown beside the verdict, and take longer than all else here."""
    monkeypatch.setattr("mnist_ops.compare.findings.outcome.others", lambda contrast: ())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_no_effect_is_called_in_at_most_one_store_of_twenty(seeds: int) -> None:
    """Noise is as recorded: shared by cells of one training, and by runs on the same images."""
    wrong = sum(
        any(map(calibration.is_false, calibration.findings(number, seeds)))
        for number in range(STORES)
    )
    # More would come about with a chance of 0.1% if one in twenty were wrong.
    assert wrong <= stats.binom.ppf(0.999, STORES, 0.05)


@pytest.mark.slow
def test_more_seeds_find_more() -> None:
    """An effect of one point, everywhere."""
    found = [
        sum(
            {f.id: f for f in calibration.findings(number, seeds, effect)}["5.2.1"].verdict
            == Verdict.SUPPORTED
            for number in range(STORES // 2)
        )
        for effect in [calibration.of_small_networks(1.0)]
        for seeds in (1, 3, 5)
    ]
    assert found == sorted(found)
    assert found[-1] == STORES // 2
