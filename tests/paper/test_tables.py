"""The numbers of the tables, from cells with known numbers."""

import dataclasses

import pandas as pd
import pytest
from compare_runs import all_tables, cuda_not_measured, expected, frame, row, select, store

QUICK = expected("quick")
REASONS = cuda_not_measured(QUICK)
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]


def tables(runs, not_measured=None, preset=None):
    selection = select(runs, expected, not_measured or {}, preset)
    return {table.number: table for table in all_tables(selection)}


def only(table, **where):
    """The one row of the table with these values."""
    found = [
        r
        for r in table.frame.to_dict("records")
        if all(r[name] == value for name, value in where.items())
    ]
    assert len(found) == 1, found
    return found[0]


def cell(**where):
    """The one spec of the quick grid with these params."""
    found = [s for s in QUICK if all(getattr(s, k, None) == v for k, v in where.items())]
    assert len(found) == 1, found
    return found[0]


AT_16_SGD = {"study": "resnet_grid", "dataset": "MNIST", "model": "resnet18", "batch_size": 16,
             "optimizer": "SGD", "learning_rate": 0.001}  # fmt: skip
ROW_16_SGD = {"batch_size": 16, "optimizer": "SGD", "learning_rate": 0.001, "epochs": 5}


@pytest.fixture(scope="module")
def full():
    return tables(store(QUICK))


def test_there_are_eleven_and_nothing_is_ever_nan(full):
    assert sorted(full) == list(range(1, 12))
    bare = tables(frame([row(QUICK[0], test_f1=None, val_accuracy=None, flops=float("inf"))]))
    for table in [*full.values(), *bare.values()]:
        assert [column.name for column in table.columns] == list(table.frame.columns)
        for value in table.frame.to_numpy().ravel():
            assert isinstance(value, str | bool | int | float)
            assert value == value


def test_rows_stand_in_the_order_of_the_study(full):
    rows = full[2].frame[["batch_size", "optimizer", "learning_rate"]].values.tolist()
    assert rows == [[b, o, lr] for b in (16, 32) for o in ("SGD", "Adam") for lr in (1e-3, 1e-4)]
    svm = full[5].frame[["kernel", "C", "gamma"]].values.tolist()
    assert svm == [
        [k, c, g] for k in ("poly", "rbf") for g in ("scale", "auto") for c in (0.1, 1.0, 10.0)
    ]
    epochs = full[4].frame[["batch_size", "optimizer", "pin_memory", "epochs"]].values.tolist()
    assert epochs == [
        [b, o, p, e]
        for b in (16, 32)
        for o in ("Adam", "SGD")
        for p in (False, True)
        for e in (2, 5)
    ]


def test_measured_published_and_difference():
    chosen = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    found = tables(frame([row(chosen, test_accuracy=0.9812)]))
    at = only(found[2], **ROW_16_SGD)
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(98.12)
    assert at["resnet18_accuracy_pct_published"] == 98.95
    assert at["resnet18_accuracy_pct_difference"] == pytest.approx(-0.83)
    assert at["resnet50_accuracy_pct_measured"] == "missing"
    assert at["resnet50_accuracy_pct_difference"] == ""
    fourth = only(found[4], batch_size=16, optimizer="SGD", pin_memory=False, epochs=5)
    assert fourth["accuracy_pct_published"] == 98.89
    assert fourth["accuracy_pct_difference"] == pytest.approx(98.12 - 98.89)


@pytest.mark.parametrize(
    ("val_false", "val_true", "measured"), [(0.8, 0.9, 70.0), (0.9, 0.8, 60.0), (0.8, 0.8, 60.0)]
)
def test_pin_memory_is_chosen_on_validation(val_false, val_true, measured):
    off = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    on = cell(**AT_16_SGD, epochs=5, pin_memory=True)
    found = tables(
        frame(
            [
                row(off, number=0, test_accuracy=0.6, val_accuracy=val_false),
                row(on, number=1, test_accuracy=0.7, val_accuracy=val_true),
            ]
        )
    )
    at = only(found[2], **ROW_16_SGD)
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(measured)
    assert at["resnet18_accuracy_pct_best_on_test"] == pytest.approx(70)


def test_of_two_pin_memory_values_the_finished_one_counts():
    off = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    on = cell(**AT_16_SGD, epochs=5, pin_memory=True)
    runs = frame([row(off, status="FAILED"), row(on, number=1, test_accuracy=0.7)])
    at = only(tables(runs)[2], **ROW_16_SGD)
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(70)


def test_absence_is_told_by_its_kind():
    failed, running, _gone = (
        cell(study="svm_grid", dataset="MNIST", kernel="poly", gamma="scale", C=c)
        for c in (0.1, 1.0, 10.0)
    )
    runs = frame([row(failed, status="FAILED"), row(running, number=1, status="RUNNING")])
    found = tables(runs, REASONS)
    measured = found[5].frame["accuracy_pct_measured"].tolist()
    assert measured[:3] == ["failed", "unfinished", "missing"]
    cuda = only(found[8], device="CUDA", optimizer="SGD")
    assert cuda["resnet18_train_time_s_measured"] == "not measured: no CUDA device"
    assert cuda["resnet18_train_time_s_published"] == 63.0
    assert cuda["resnet18_train_time_s_difference"] == ""


def test_a_missing_metric_is_missing():
    svm = cell(study="svm_grid", dataset="MNIST", kernel="rbf", gamma="auto", C=1.0)
    runs = frame([row(svm, test_accuracy=0.5, train_time_s=float("nan"))])
    at = only(tables(runs)[5], kernel="rbf", gamma="auto", C=1.0)
    assert at["accuracy_pct_measured"] == pytest.approx(50)
    assert at["accuracy_pct_difference"] == pytest.approx(50 - 95.20)
    assert at["f1_measured"] == pytest.approx(0.89)
    assert at["f1_difference"] == pytest.approx(0.89 - 0.952)
    assert at["train_time_s_measured"] == "missing"


def test_seeds_are_averaged_with_their_deviation():
    specs = [
        dataclasses.replace(cell(**AT_16_SGD, epochs=5, pin_memory=False), seed=s) for s in range(3)
    ]
    accuracies = (0.96, 0.97, 0.98)
    runs = frame(
        [
            row(spec, number=i, test_accuracy=a)
            for i, (spec, a) in enumerate(zip(specs, accuracies, strict=True))
        ]
    )
    at = only(tables(runs)[2], **ROW_16_SGD)
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(97)
    assert at["resnet18_accuracy_pct_std"] == pytest.approx(1)
    assert at["resnet18_accuracy_pct_n"] == 3
    assert at["resnet50_accuracy_pct_std"] == ""


def test_one_seed_has_no_deviation(full):
    assert not [name for t in full.values() for name in t.frame.columns if name.endswith("_std")]


def test_champions_are_chosen_on_validation_and_on_test():
    svms = [s for s in QUICK if s.study == "svm_grid" and s.dataset == "MNIST"]
    nets = [s for s in QUICK if s.study == "resnet_grid" and s.dataset == "MNIST"]

    def change(spec):
        if spec in (svms[2], nets[5]):  # best on validation
            return {"val_accuracy": 0.95, "test_accuracy": 0.85 if spec in svms else 0.97}
        if spec in (svms[4], nets[9]):  # best on test
            return {"test_accuracy": 0.93 if spec in svms else 0.99}
        return {}

    found = tables(store(svms + nets, change=change))
    svm = only(found[7], dataset="MNIST", method="SVM", chosen_on="validation")
    assert svm["configuration_measured"] == f"poly, C={svms[2].C}, gamma={svms[2].gamma}"
    assert svm["configuration_published"] == "RBF, C=10.0, gamma=scale"
    assert svm["accuracy_pct_measured"] == pytest.approx(85)
    assert svm["accuracy_pct_difference"] == pytest.approx(85 - 95.6)
    assert svm["improvement_points_measured"] == ""
    net = only(found[7], dataset="MNIST", method="ResNet-18", chosen_on="validation")
    assert net["accuracy_pct_measured"] == pytest.approx(97)
    assert net["improvement_points_measured"] == pytest.approx(12)
    assert net["improvement_points_published"] == 3.41
    assert net["improvement_points_difference"] == pytest.approx(12 - 3.41)
    net = only(found[7], dataset="MNIST", method="ResNet-18", chosen_on="test (the study's way)")
    assert net["accuracy_pct_measured"] == pytest.approx(99)
    assert net["improvement_points_measured"] == pytest.approx(6)
    best = only(found[11], task="MNIST (Deep Learning)", chosen_on="validation")
    assert best["accuracy_pct_measured"] == pytest.approx(97)
    assert best["f1_published"] == 0.990
    assert best["f1_difference"] == pytest.approx(0.89 - 0.990)
    assert best["configuration_published"] == "ResNet-18, Adam, lr=0.001, bs=16"
    fashion = only(found[11], task="FashionMNIST (SVM)", chosen_on="validation")
    assert fashion["configuration_measured"] == "missing"
    assert fashion["accuracy_pct_measured"] == "missing"


def test_of_equal_champions_the_first_of_the_grid_is_taken(full):
    net = only(full[7], dataset="MNIST", method="ResNet-18", chosen_on="validation")
    assert net["configuration_measured"] == "SGD, lr=0.001, bs=16, epochs=2, pin_memory=False"


def test_speedup_is_the_ratio_of_the_times():
    seconds = {("resnet50", "cpu"): 120.0, ("resnet50", "cuda"): 8.0}

    def change(spec):
        return {"train_time_s": seconds.get((spec.model, spec.device), 10.0)}

    found = tables(store([s for s in QUICK if s.study == "device_compare"], change=change))
    at = only(found[9], model="ResNet-50", optimizer="Adam")
    assert at["cpu_time_s_measured"] == 120
    assert at["cpu_time_s_difference"] == pytest.approx(120 - 1281)
    assert at["speedup_measured"] == 15
    assert at["speedup_published"] == 10.19
    assert at["speedup_difference"] == pytest.approx(15 - 10.19)


def test_without_a_gpu_there_is_no_speedup():
    found = tables(store(ON_CPU), REASONS)
    assert set(found[9].frame["speedup_measured"]) == {"not measured: no CUDA device"}
    assert set(found[9].frame["cpu_time_s_measured"]) == {10.0}


def test_complexity_comes_from_the_runs(full):
    small, large = full[10].frame.to_dict("records")
    assert small["parameters_millions_measured"] == pytest.approx(11.17537)
    assert small["parameters_millions_published"] == pytest.approx(11.18)
    assert small["flops_millions_measured"] == pytest.approx(33.18)
    assert small["flops_fvcore_millions"] == pytest.approx(33.097)
    assert large["relative_complexity_measured"] == pytest.approx(78.76 / 33.18)
    assert large["relative_complexity_published"] == 2.37
    assert "ResNet-18: 11,175,370 parameters, 33,180,000 FLOPs." in full[10].notes


def test_configuration_says_what_was_run(full):
    said = full[1].frame.set_index("parameter")
    assert said.loc["Data Split", "measured"] == "256 Train / 37 Validation / 512 Test images"
    assert said.loc["Data Split", "difference"] == "differs"
    assert said.loc["pin_memory", "difference"] == "same"
    assert said.loc["Models", "measured"] == said.loc["Models", "published"]
    paper = tables(store(expected("paper"), "paper"))[1].frame.set_index("parameter")
    assert paper.loc["Data Split", "measured"] == "70% Train / 10% Validation / 20% Test"


def test_configuration_tells_seeds_that_some_cells_lack():
    networks = [cell(**AT_16_SGD, pin_memory=False, epochs=epochs) for epochs in (2, 5)]
    again = dataclasses.replace(networks[0], seed=1)
    machines = [spec for spec in expected("quick") if spec.study == "svm_grid"]
    both = [dataclasses.replace(spec, seed=seed) for spec in machines for seed in (0, 1)]
    runs = frame([row(spec, number=n) for n, spec in enumerate([*networks, again, *both])])
    said = tables(runs)[1].frame.set_index("parameter")
    assert said.loc["Seeds", "measured"] == "0; in some cells 1"
    assert said.loc["SVM Seeds", "measured"] == "0, 1"
    apart = frame([row(networks[1]), row(again, number=1)])
    said = tables(apart)[1].frame.set_index("parameter")
    assert said.loc["Seeds", "measured"] == "in some cells 0, 1"


def test_other_epochs_and_variants_get_rows_of_their_own():
    usual = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    longer = dataclasses.replace(usual, epochs=9)
    plain = dataclasses.replace(usual, momentum=0.0)
    runs = frame(
        [
            row(usual, test_accuracy=0.5),
            row(longer, number=1, test_accuracy=0.6),
            row(plain, number=2, test_accuracy=0.7),
        ]
    )
    found = tables(runs)[2]
    assert len(found.frame) == 10
    at = only(found, **ROW_16_SGD, variant="")
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(50)
    at = only(found, **(ROW_16_SGD | {"epochs": 9}))
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(60)
    assert at["resnet18_accuracy_pct_published"] == ""
    at = only(found, variant="momentum=0.0")
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(70)
    assert at["resnet18_accuracy_pct_published"] == ""


def test_another_model_gets_columns_of_its_own():
    usual = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    other = row(usual, number=1, test_accuracy=0.4) | {"model": "resnet34", "fingerprint": "f" * 16}
    found = tables(frame([row(usual), other]))
    at = only(found[2], **ROW_16_SGD)
    assert at["resnet34_accuracy_pct_measured"] == pytest.approx(40)
    assert at["resnet34_accuracy_pct_published"] == ""
    assert "ResNet-34" in found[10].frame["model"].tolist()


def test_where_only_short_trainings_ran_they_are_shown():
    short = [s for s in QUICK if s.study == "resnet_grid" and s.epochs == 2]
    found = tables(store(short))[3]
    at = only(found, **(ROW_16_SGD | {"epochs": 2}))
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(90)
    assert only(found, **ROW_16_SGD)["resnet18_accuracy_pct_measured"] == "missing"


def test_runs_of_another_preset_are_not_averaged_in():
    spec = cell(**AT_16_SGD, epochs=5, pin_memory=False)
    paper = [s for s in expected("paper") if (s.study, s.name) == (spec.study, spec.name)]
    runs = pd.concat(
        [
            store([spec], change=lambda s: {"test_accuracy": 0.5}),
            store(paper, "paper", lambda s: {"test_accuracy": 0.9}),
        ]
    )
    at = only(tables(runs, preset="quick")[2], **ROW_16_SGD)
    assert at["resnet18_accuracy_pct_measured"] == pytest.approx(50)
