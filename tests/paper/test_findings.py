"""Findings: verdicts on stores with a known effect, none, or not enough."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from compare_runs import cuda_not_measured, evidence, expected, frame, row, select, store
from scipy import stats

from mnist_ops.compare import Source, evidence_of
from mnist_ops.compare.findings import all_findings
from mnist_ops.compare.findings.baseline import NoBaseline, check, read, recorded, to_json
from mnist_ops.compare.findings.finding import Verdict
from mnist_ops.core.errors import InvalidInput
from pipelines.paper import PAPER

QUICK = expected("quick")
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]
REASONS = cuda_not_measured(QUICK)

# The study's numbered findings, its takeaways, and what follows from the code.
IDS = [f"2.8.{n}" for n in range(1, 6)] + [f"3.5.{n}" for n in range(1, 6)]
IDS += [f"4.5.{n}" for n in range(1, 6)]
IDS += ["5.2.1", "5.2.1a", "5.2.2a", "5.2.2b", "5.2.2c", "5.2.3", "5.2.4", "5.2.4a"]
IDS += ["5.2.5a", "5.2.5b", "5.2.5c", "code.1", "code.2", "code.3"]


def with_seeds(specs, count):
    return [dataclasses.replace(spec, seed=seed) for spec in specs for seed in range(count)]


def judge(runs, specs=QUICK, predictions=lambda run_id: None, reasons=REASONS):
    findings = all_findings(
        evidence(select(runs, lambda preset: specs, reasons), predictions), PAPER.claims
    )
    return {finding.id: finding for finding in findings}


def noisy(seed, effect=lambda spec: 0.0):
    """Scores of 0.8 plus `effect`, each with a deviation of a point; times around 10 seconds."""
    rng = np.random.default_rng(seed)

    def change(spec):
        accuracy = 0.8 + effect(spec) + rng.normal(0, 0.01)
        return {
            "test_accuracy": accuracy,
            "test_f1": accuracy,
            "val_accuracy": 0.8 + effect(spec) + rng.normal(0, 0.01),
            "train_time_s": float(np.exp(rng.normal(2.3, 0.1))),
            "train_loss": float(np.exp(rng.normal(0, 0.1))),
        }

    return change


def model_effect(size):
    return lambda spec: size if spec.model == "resnet18" else 0.0


def test_every_claim_of_the_study_is_there():
    claims = [claim for section in PAPER.claims for claim in section.claims]
    assert [claim.id for claim in claims] == IDS
    for claim in claims:
        assert claim.hypothesis.__doc__
        assert "\n" not in claim.text


def test_every_finding_is_complete():
    for finding in judge(store(ON_CPU, change=noisy(0))).values():
        assert finding.published or finding.id == "code.3"
        assert finding.explanation
        assert finding.scope == "quick: a few hundred images a run, 1 seed"
        assert bool(finding.missing) == (finding.verdict == Verdict.UNDECIDABLE), finding
        assert finding.effect is None or finding.effect_unit


def test_published_evidence_is_the_studys():
    published = {finding.id: finding.published for finding in judge(store(ON_CPU)).values()}
    assert "higher in 16 of 16 printed pairs" in published["2.8.1"]
    # One printed pair contradicts "across all configurations".
    assert "higher in 15 of 16 printed pairs" in published["2.8.2"]
    # And four contradict "less than one point".
    assert (
        "12 of 16 printed pairs differ by less than 1 point, the most by 2.00"
        in (published["2.8.4"])
    )
    assert "Adam MNIST 99.01%, Adam FashionMNIST 90.76%" in published["2.8.3"]
    assert "resnet50 Adam 10.19×" in published["4.5.1"]
    assert "FashionMNIST +4.46%" in published["3.5.5"]


def test_a_known_effect_is_found_as_scipy_finds_it():
    specs = with_seeds(ON_CPU, 3)
    runs = store(specs, change=noisy(1, model_effect(0.15)))
    finding = judge(runs, specs)["2.8.1"]
    # A training a seed: pinned memory is a copy, and the study's tables are of 5 epochs.
    grid = runs[
        (runs["study"] == "resnet_grid") & (runs["epochs"] == 5) & ~runs["pin_memory"].eq(True)
    ]
    keys = ["dataset", "batch_size", "optimizer", "learning_rate"]
    means = grid.groupby(["model", *keys])["test_accuracy"].mean() * 100
    differences = means["resnet18"] - means["resnet50"]
    by_hand = stats.ttest_1samp(differences, 0)
    average = finding.grade.average
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.n == average.n == len(differences) == 16
    assert average.effect == pytest.approx(differences.mean())
    assert average.interval == pytest.approx(tuple(by_hand.confidence_interval()))
    assert average.p_value == pytest.approx(by_hand.pvalue)
    # The verdict is that of each configuration, and the weakest that is needed is printed.
    assert 0 < finding.effect < average.effect
    assert finding.p_value >= finding.p_value_unadjusted
    assert finding.grade.agree
    assert finding.scope.endswith("3 seeds")


def test_the_scope_names_the_fewest_seeds_too():
    some = [spec for spec in with_seeds(ON_CPU, 3) if spec.seed == 0 or spec.model == "resnet18"]
    for finding in judge(store(some), some).values():
        assert finding.scope == "quick: a few hundred images a run, 1 to 3 seeds"


def test_the_opposite_effect_refutes():
    finding = judge(store(ON_CPU, change=noisy(2, model_effect(-0.05))))["2.8.1"]
    assert finding.verdict == Verdict.REFUTED
    assert finding.effect < 0
    assert finding.interval[1] < 0


def test_one_seed_cannot_say_what_holds_in_each_configuration():
    """A trained model is no configuration: nothing tells how much another seed would differ."""
    finding = judge(store(ON_CPU, change=noisy(2, model_effect(0.15))))["2.8.1"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert finding.interval is None
    assert finding.grade.average.p_value < 0.001
    need = finding.grade.need
    # Two more seeds of both sides of every configuration.
    assert need.runs == sum(cells.seeds for cells in need.cells) == 64
    assert need.seconds == pytest.approx(sum(c.seeds * c.seconds for c in need.cells))
    assert finding.missing.startswith("64 more runs, about ")


def test_one_significant_contradiction_refutes_always():
    """Better by five points everywhere, but in one configuration far worse."""

    def effect(spec):
        contrary = (spec.dataset, spec.model) == ("MNIST", "resnet18") and (
            getattr(spec, "batch_size", 0),
            getattr(spec, "optimizer", ""),
            getattr(spec, "learning_rate", 0),
            getattr(spec, "epochs", 0),
        ) == (16, "SGD", 0.001, 5)
        return -0.2 if contrary else model_effect(0.05)(spec)

    specs = with_seeds(ON_CPU, 3)
    finding = judge(store(specs, change=noisy(3, effect)), specs)["2.8.1"]
    assert finding.verdict == Verdict.REFUTED
    assert finding.effect < finding.interval[1] < 0 < finding.grade.average.effect
    assert "Shown to be contrary: MNIST, SGD, lr=0.001, bs=16, epochs=5" in finding.explanation


def test_mostly_is_not_always():
    """Better in three quarters of the configurations, a little worse in the others."""
    finding = judge(
        store(
            ON_CPU,
            change=lambda spec: {
                "test_accuracy": 0.8
                + (spec.model == "resnet18")
                * (
                    -0.005
                    if (getattr(spec, "optimizer", ""), spec.dataset) == ("SGD", "MNIST")
                    else 0.05
                )
            },
        )
    )["2.8.1"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert finding.grade.average.effect > 0
    assert finding.grade.average.p_value < 0.05
    assert "more runs" in finding.missing


def test_a_training_counts_once():
    """On a CPU pin_memory changes nothing: both of its values are one training."""

    def change(spec):
        return noisy(hash_of(spec), model_effect(0.03))(spec)

    def hash_of(spec):
        return (
            sum(map(ord, repr(dataclasses.replace(spec, pin_memory=False))))
            if hasattr(spec, "pin_memory")
            else 0
        )

    finding = judge(store(ON_CPU, change=change))["2.8.1"]
    assert finding.n == 16
    text = "16 matched configurations of 32 runs, 32 more runs are copies of these"
    assert text in finding.explanation


def test_a_constant_effect_has_no_width():
    change = {2: 0.8, 5: 0.9}
    finding = judge(
        store(ON_CPU, change=lambda s: {"test_accuracy": change.get(getattr(s, "epochs", 0), 0.7)})
    )["2.8.5"]
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.interval == pytest.approx((10.0, 10.0))
    assert finding.p_value == 0.0


def test_equal_everywhere_supports_no_difference():
    """At the study's size; the sampling of its test images alone leaves little room."""
    specs = with_seeds([s for s in expected("paper") if s.device == "cpu"], 5)
    findings = judge(store(specs, "paper"), specs)
    assert findings["2.8.1"].verdict == Verdict.UNDECIDABLE
    assert findings["2.8.1"].grade.average.effect == 0.0
    # But it does support that there is little of one.
    assert findings["2.8.4"].verdict == Verdict.SUPPORTED
    assert findings["3.5.3"].verdict == Verdict.SUPPORTED
    none = findings["5.2.5b"]
    assert none.verdict == Verdict.NO_DIFFERENCE
    assert none.grade.no_larger_than == 0.0


def test_where_it_holds_and_where_not_is_named():
    def effect(spec):
        high = getattr(spec, "learning_rate", 0) == 0.001
        return 0.1 * (high and getattr(spec, "optimizer", "") == "SGD")

    finding = judge(store(ON_CPU, change=noisy(12, effect)))["2.8.2"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert "It depends on optimizer" in finding.explanation
    assert "optimizer=SGD: above in 8 of 8" in finding.explanation


def test_little_difference_is_refuted_by_a_large_one():
    def change(spec):
        return {"test_accuracy": 0.8 + 0.05 * (getattr(spec, "batch_size", 0) == 16)}

    finding = judge(store(ON_CPU, change=change))["2.8.4"]
    assert finding.verdict == Verdict.REFUTED
    assert finding.effect == pytest.approx(5.0)


def test_no_gpu_is_not_decidable_and_says_so():
    findings = judge(store(ON_CPU, change=noisy(4)))
    for name in ("4.5.1", "4.5.2", "4.5.3", "5.2.4", "5.2.4a", "5.2.5c"):
        assert findings[name].verdict == Verdict.UNDECIDABLE
        assert "on a GPU: not measured: no CUDA device" in findings[name].missing
        assert (findings[name].effect, findings[name].n) == (None, 0)


def gpu_store(speedups, seeds=5):
    specs = with_seeds([s for s in QUICK if s.study == "device_compare"], seeds)
    rng = np.random.default_rng(7)

    def change(spec):
        faster = speedups[spec.model] if spec.device == "cuda" else 1.0
        accuracy = 0.85 + rng.normal(0, 0.001)
        return {
            "test_accuracy": accuracy,
            "train_time_s": 100.0 / faster * float(np.exp(rng.normal(0, 0.02))),
        }

    return store(specs, change=change), specs


def test_speedups():
    findings = judge(*gpu_store({"resnet18": 6.0, "resnet50": 10.0}))
    for name in ("4.5.1", "4.5.2", "4.5.3", "5.2.4", "5.2.4a", "5.2.5c"):
        assert findings[name].verdict == Verdict.SUPPORTED, name
    assert findings["4.5.1"].effect == pytest.approx((6 * 10) ** 0.5, rel=0.05)
    assert findings["4.5.1"].n == 4
    assert findings["4.5.2"].effect == pytest.approx(10 / 6, rel=0.05)
    assert findings["4.5.2"].n == 2


def test_a_slow_gpu_refutes():
    findings = judge(*gpu_store({"resnet18": 0.5, "resnet50": 0.4}))
    for name in ("4.5.1", "4.5.2", "5.2.4", "5.2.5c"):
        assert findings[name].verdict == Verdict.REFUTED, name


def test_flops_are_counts():
    finding = judge(store(ON_CPU))["4.5.4"]
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.effect == pytest.approx(78.76 / 33.18)
    assert (finding.p_value, finding.interval) == (None, None)
    runs = store(ON_CPU, change=lambda s: {"flops": 1e7 * (1 + 2 * (s.model == "resnet50"))})
    assert judge(runs)["4.5.4"].verdict == Verdict.REFUTED


def test_one_data_set_does_not_support_a_claim_about_two():
    mnist = [spec for spec in ON_CPU if spec.dataset == "MNIST"]
    finding = judge(store(mnist, change=noisy(5, model_effect(0.05))))["2.8.1"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert finding.missing.startswith("finished cells of FashionMNIST on both sides")
    # Refuting it takes no more than that.
    refuted = judge(store(mnist, change=noisy(5, model_effect(-0.05))))["2.8.1"]
    assert refuted.verdict == Verdict.REFUTED


def test_missing_failed_and_unusable_cells_are_counted():
    runs = store(ON_CPU, change=noisy(6, model_effect(0.05)))
    of_small = (runs["model"] == "resnet18") & (runs["study"] == "resnet_grid")
    at = of_small & (runs["epochs"] == 5) & (runs["dataset"] == "MNIST")
    keys = ["batch_size", "optimizer", "learning_rate"]
    failed, unusable, gone = [part.index for _, part in runs[at].groupby(keys)][:3]
    runs.loc[failed, "status"] = "FAILED"
    runs.loc[unusable, "test_accuracy"] = float("nan")
    finding = judge(runs.drop(index=gone))["2.8.1"]
    assert finding.n == 13
    assert "2 lacking (model=resnet18: failed)" in finding.explanation
    assert "1 lacking (model=resnet18: missing)" in finding.explanation


def test_a_single_run_decides_nothing():
    findings = judge(frame([row(ON_CPU[0])]))
    assert {f.verdict for f in findings.values()} == {Verdict.UNDECIDABLE}
    assert all(f.missing for f in findings.values())


def test_time_claims_need_times_above_zero():
    runs = store(ON_CPU, change=lambda s: {"train_time_s": 0.0})
    findings = judge(runs)
    assert findings["4.5.5"].verdict == Verdict.UNDECIDABLE
    assert "no train_time_s" in findings["4.5.5"].missing


def test_time_that_c_does_not_enter_says_nothing_of_c():
    shared = store(ON_CPU, change=noisy(6))
    assert judge(shared)["3.5.4"].effect is None
    assert "run svm_grid --preset quick --plain" in judge(shared)["3.5.4"].missing
    times, scores = {0.1: 3.0, 1.0: 2.0, 10.0: 1.0}, noisy(6)
    plain = [dataclasses.replace(s, plain=True) for s in ON_CPU if s.study == "svm_grid"]
    # With scores that differ, or both rules for gamma would be one kernel.
    timed = store(plain, change=lambda spec: scores(spec) | {"train_time_s": times[spec.C]})
    runs = pd.concat([shared, timed.assign(run_id="plain" + timed["run_id"])])
    source = Source(runs, REASONS)
    found = all_findings(evidence_of(source, PAPER, "quick"), PAPER.claims)
    (finding,) = (each for each in found if each.id == "3.5.4")
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.effect == pytest.approx(6**0.5)


LABELS = np.arange(512) % 10


def predicted(wrong, index=None):
    """Predictions of which the first `wrong` are not right."""
    guesses = np.where(np.arange(512) < wrong, (LABELS + 1) % 10, LABELS)
    return SimpleNamespace(
        predicted=guesses, label=LABELS, index=np.arange(512) if index is None else index
    )


def champion_store(seeds):
    """Best on validation: Adam's 0.001 networks; 40 of 512 wrong, where others have 150."""

    def accuracy(spec):
        best = getattr(spec, "optimizer", "") == "Adam" and spec.learning_rate == 0.001
        return 1 - (40 if best else 150) / 512

    specs = with_seeds(ON_CPU, seeds)
    change = lambda s: dict.fromkeys(("test_accuracy", "val_accuracy"), accuracy(s))  # noqa: E731
    return store(specs, change=change), specs


def test_the_best_are_compared_by_their_seeds():
    finding = judge(*champion_store(3))["2.8.3"]
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.n == 6
    assert finding.effect == pytest.approx(100 * 110 / 512)
    assert "best on test, the study's way" in finding.explanation


def test_the_best_of_one_seed_each_are_two_models_and_no_settings():
    finding = judge(*champion_store(1))["2.8.3"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert finding.grade.need.runs == 8


def test_seeds_that_one_side_alone_has_count():
    runs, specs = champion_store(5)
    lost = (runs["optimizer"] == "SGD") & (runs["seed"] > 0)
    finding = judge(runs[~lost], specs)["2.8.3"]
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.n == 6


def test_no_more_predictions_are_asked_for_than_needed():
    asked = set()

    def predictions(run_id):
        asked.add(run_id)
        return

    judge(store(ON_CPU, change=noisy(8, model_effect(0.05))), predictions=predictions)
    # Those of the claims that follow from the code.
    assert 0 < len(asked) <= 2 * (64 + 6)


def test_best_is_chosen_on_validation():
    """Adam is better on test by chance, SGD on validation: what is compared is the latter's."""

    def change(spec):
        adam = getattr(spec, "optimizer", "") == "Adam"
        low_rate = getattr(spec, "learning_rate", 0) == 0.0001
        return {
            "val_accuracy": 0.9 if low_rate else 0.8,
            "test_accuracy": 0.7 if low_rate else 0.95 if adam else 0.6,
        }

    finding = judge(store(ON_CPU, change=change))["2.8.3"]
    assert finding.effect == pytest.approx(0.0)
    assert "(95.00%)" in finding.explanation


def test_pin_memory_and_gamma_change_no_prediction():
    same = judge(store(ON_CPU), predictions=lambda run_id: predicted(50))
    assert same["code.1"].verdict == same["code.2"].verdict == Verdict.SUPPORTED
    assert (same["code.1"].n, same["code.2"].n) == (64, 6)
    without = judge(store(ON_CPU))
    assert without["code.1"].missing == "the predictions of the runs"


def test_cells_of_one_training_are_no_evidence():
    runs = store(ON_CPU)
    runs["time"] = np.where(runs["pin_memory"].eq(True), "attributed", "measured")
    finding = judge(runs, predictions=lambda run_id: predicted(50))["code.1"]
    assert finding.verdict == Verdict.UNDECIDABLE
    assert finding.explanation.startswith("All 64 matched pairs are one training each")


def test_one_other_prediction_refutes():
    runs = store(ON_CPU)
    pinned = set(runs["run_id"][runs["pin_memory"] == True])  # noqa: E712
    findings = judge(runs, predictions=lambda run_id: predicted(50 + (run_id in pinned)))
    assert findings["code.1"].verdict == Verdict.REFUTED
    assert "at most 1 of a run's differ" in findings["code.1"].explanation


def test_gammas_may_differ_on_a_few_hundred_images():
    runs = store(ON_CPU)
    scaled = set(runs["run_id"][runs["gamma"] == "scale"])
    few = judge(runs, predictions=lambda run_id: predicted(50 + (run_id in scaled)))["code.2"]
    assert few.verdict == Verdict.UNDECIDABLE
    assert few.missing.startswith("10,000 training images")
    runs["n_train"] = 10_000
    many = judge(runs, predictions=lambda run_id: predicted(50 + (run_id in scaled)))["code.2"]
    assert many.verdict == Verdict.REFUTED


def test_weights_without_gradient_need_their_metric():
    assert judge(store(ON_CPU))["code.3"].verdict == Verdict.UNDECIDABLE
    runs = store(ON_CPU, change=lambda s: {"live_parameters": 4_230_000.0})
    finding = judge(runs)["code.3"]
    assert finding.verdict == Verdict.SUPPORTED
    assert finding.effect == pytest.approx(1 - 4_230_000 / 11_175_370)


def test_json_has_every_field_and_is_the_same_twice():
    runs = store(ON_CPU, change=noisy(9))
    findings = list(judge(runs).values())
    text = to_json(findings)
    assert text == to_json(list(judge(runs.sample(frac=1, random_state=1)).values()))
    rows = json.loads(text)
    assert [r["id"] for r in rows] == IDS
    fields = {"id", "section", "claim", "published", "verdict", "effect", "effect_unit"}
    fields |= {"average", "probability", "detectable", "no_larger_than", "analyses", "agree"}
    fields |= {"confound", "need"}
    fields |= {"interval", "p_value", "p_value_unadjusted", "n", "scope", "explanation", "missing"}
    assert all(set(r) == fields for r in rows)


def test_what_was_supported_and_is_no_longer(tmp_path):
    specs = with_seeds(ON_CPU, 3)
    runs = [store(specs, change=noisy(10, model_effect(size))) for size in (0.15, 0.0)]
    before, after = (list(judge(each, specs).values()) for each in runs)
    path = tmp_path / "findings.json"
    path.write_text(to_json(before))
    assert check(before, read(path)) == []
    lost = [finding.id for finding in check(after, read(path))]
    assert "2.8.1" in lost
    assert "2.8.3" not in lost


def test_runs_of_one_size_cannot_lose_what_another_found():
    quick = list(judge(store(ON_CPU)).values())
    paper = [dataclasses.replace(f, scope="paper: the study's own sizes, 5 seeds") for f in quick]
    with pytest.raises(InvalidInput, match="baseline is of preset paper, these runs of quick"):
        check(quick, json.loads(to_json(paper)))


def test_the_recorded_baseline_can_be_read():
    assert [row["id"] for row in recorded(PAPER.baseline)] == IDS


def test_no_baseline(tmp_path):
    with pytest.raises(NoBaseline, match="no baseline is recorded") as raised:
        recorded(None)
    assert raised.value.exit_code == 1
    with pytest.raises(InvalidInput, match="no such file"):
        read(tmp_path / "findings.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "a"}]', '[{"id": 1, "verdict": "x"}]'])
def test_a_baseline_that_is_none(tmp_path, text):
    path = tmp_path / "findings.json"
    path.write_text(text)
    if text == "{}":
        assert read(path) == []
        return
    with pytest.raises(InvalidInput, match=r"is not a findings\.json"):
        read(path)
