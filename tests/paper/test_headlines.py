"""The answers to the study's questions, and what a report says to terminals and programs."""

import dataclasses
import json

import pytest
from compare_runs import cuda_not_measured, expected, store, summarize
from statsmodels.stats.proportion import proportion_confint

from mnist_ops.compare import NoBaseline
from mnist_ops.compare.findings.baseline import to_json
from pipelines.paper import PAPER

QUICK = expected("quick")
REASONS = cuda_not_measured(QUICK)
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]


def accuracy(spec):
    best = 0.99 if spec.model == "resnet18" else 0.8
    return {"test_accuracy": best, "val_accuracy": best, "train_time_s": 10 + spec.seed}


def answers(report):
    return {headline.question: headline.answer for headline in report.results.headlines}


def test_headlines_with_intervals(tmp_path):
    found = answers(summarize(store(ON_CPU, change=accuracy), expected, REASONS, tmp_path))
    low, high = proportion_confint(507, 512, method="wilson")
    assert found["Best on MNIST, by validation"] == (
        "ResNet-18, SGD, lr=0.001, bs=16, epochs=2, pin_memory=False: "
        f"99.00% ({100 * low:.2f} to {100 * high:.2f})"
    )
    # One seed a side: nothing tells how much another would differ.
    assert found["Networks over SVMs on MNIST"] == "+19.00 points"
    assert found["GPU over CPU"].endswith("(on a GPU: not measured: no CUDA device)")


def test_a_loss_has_a_minus_sign(tmp_path):
    def worse(spec):
        return {"test_accuracy": 0.8 if spec.study == "resnet_grid" else 0.99}

    found = answers(summarize(store(ON_CPU, change=worse), expected, REASONS, tmp_path))
    assert found["Networks over SVMs on MNIST"] == "\N{MINUS SIGN}19.00 points"


def test_speedup_of_a_gpu(tmp_path):
    def change(spec):
        return {"train_time_s": 10.0 if spec.device == "cuda" else 80.0}

    found = answers(summarize(store(QUICK, change=change), expected, {}, tmp_path))
    assert found["GPU over CPU"] == "8.00× (8.00 to 8.00)"


def test_headlines_without_runs_to_answer_from(tmp_path):
    failed = store(ON_CPU, change=lambda spec: {"status": "FAILED"})
    found = answers(summarize(failed, expected, REASONS, tmp_path))
    assert found["Best on MNIST, by validation"] == "not measured"
    assert found["Networks over SVMs on MNIST"] == "not measured"


def test_lines_count_verdicts_and_agreement(tmp_path):
    lines = summarize(store(ON_CPU, change=accuracy), expected, REASONS, tmp_path).lines()
    assert lines[0] == "Preset quick"
    (findings,) = [line for line in lines if " findings (" in line]
    assert findings.startswith("29 findings (quick: a few hundred images a run, 1 seed): ")
    assert lines[-1].startswith("160 published numbers, agreeing: not comparable ")


def test_everything_for_programs_is_json(tmp_path):
    report = summarize(store(ON_CPU, change=accuracy), expected, REASONS, tmp_path)
    read = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert len(read["findings"]) == len(json.loads((tmp_path / "findings.json").read_text()))
    assert len(read["published_vs_measured"]) == 160
    assert read["headlines"][0]["question"] == "Best on MNIST, by validation"


@pytest.mark.slow
def test_what_was_lost_since_a_baseline(tmp_path):
    def of_epochs(spec):
        return {"test_accuracy": 0.8 + 0.01 * getattr(spec, "epochs", 0)}

    before = summarize(store(ON_CPU, change=of_epochs), expected, REASONS, tmp_path / "a")
    after = summarize(store(ON_CPU), expected, REASONS, tmp_path / "b")
    baseline = tmp_path / "findings.json"
    baseline.write_text(to_json(before.results.findings))
    assert before.lost(baseline) == []
    assert "2.8.5" in [finding.id for finding in after.lost(baseline)]
    paper = dataclasses.replace(PAPER, baseline=None)
    with pytest.raises(NoBaseline):
        dataclasses.replace(before, paper=paper).lost()


def test_each_run_is_asked_once(tmp_path):
    asked = []

    def predictions(run_id):
        asked.append(run_id)

    summarize(store(ON_CPU, change=accuracy), expected, REASONS, tmp_path, predictions=predictions)
    assert asked
    assert len(asked) == len(set(asked))
