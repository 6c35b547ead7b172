"""The figures: the numbers behind each, and what is drawn of them."""

import math

import pandas as pd
import pytest
from compare_runs import all_tables, expected, row, select, store
from paper_figures import (
    AGREEMENT,
    NO_AGREEMENT,
    ON_CPU,
    QUICK,
    REASONS,
    STEMS,
    chosen,
    figures_of,
    history,
    known,
    pixels,
    predictions,
)
from plotly import graph_objects as go

from mnist_ops.compare import Source
from mnist_ops.compare.figures import agreement, confusion
from mnist_ops.compare.figures.axes import error_bars, percent_range, time_range
from mnist_ops.compare.figures.figure import Figure
from mnist_ops.compare.tables.champion import champion
from mnist_ops.core import keys
from mnist_ops.study.specs import ResNetSpec
from pipelines.paper.figures import (
    accuracy,
    complexity,
    devices,
    heatmaps,
    learning,
    svms,
    times,
)
from pipelines.paper.looks import colour


def only(frame, **wanted):
    """The one row with these values."""
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def texts(figure):
    """Every text of a drawing that people see."""
    layout = figure.drawing.layout
    found = [annotation.text for annotation in layout.annotations]
    found += [axis.title.text for axis in figure.drawing.select_xaxes()]
    found += [
        t for trace in figure.drawing.data for t in (trace.text or ()) if trace.mode == "text"
    ]
    return " ".join(text for text in found if text)


def test_every_figure_is_there(figures):
    assert [figure.stem for figure in figures] == STEMS
    assert [figure.number for figure in figures][:4] == ["1", "2a", "2b", "3"]
    for figure in figures:
        assert figure.title
        assert figure.caption.endswith(".")
        assert figure.alt.endswith(".")
        assert not figure.frame.empty
        assert figure.drawing.layout.title.text == figure.title
        assert figure.height > 200


def test_accuracy_numbers_are_those_of_tables_2_and_3():
    frame = accuracy.accuracy_numbers(all_tables(chosen(change=known)))
    assert len(frame) == 32
    found = only(
        frame, dataset="FashionMNIST", configuration="Adam · 0.001 · bs 32", model="ResNet-50"
    )
    assert found["measured"] == pytest.approx(100 * (0.5 + 0.1 + 0.01 + 0.002 - 0.03))
    assert found["published"] == 89.40
    assert (found["n"], found["absent"]) == (1, "")
    assert math.isnan(found["std"])


def test_accuracy_over_seeds_has_error_bars():
    specs = [spec for spec in expected("rigorous") if spec.seed < 3 and spec.device == "cpu"]
    selection = select(
        store(specs, "rigorous", lambda spec: {"test_accuracy": 0.9 + spec.seed / 100}),
        expected,
        {},
        "rigorous",
    )
    figure = accuracy.accuracy_figure(all_tables(selection))
    first = figure.frame.iloc[0]
    assert (first["measured"], first["std"], first["n"]) == (
        pytest.approx(91),
        pytest.approx(1),
        3,
    )
    # Their axis does not begin at zero: a bar's length would say nothing.
    assert not [trace for trace in figure.drawing.data if isinstance(trace, go.Bar)]
    dots = [trace for trace in figure.drawing.data if trace.name in ("ResNet-18", "ResNet-50")]
    assert len(dots) == 4
    assert all(trace.error_x.array[0] == pytest.approx(1) for trace in dots)
    assert "Error bars" in figure.caption


def test_one_seed_has_no_error_bar() -> None:
    # What plotly.js cannot read as a number has none; null is one of no length, with its ends.
    assert error_bars([0.5, math.nan], width=3) == {
        "type": "data",
        "array": [0.5, "none"],
        "width": 3,
    }


def test_networks_stand_beside_each_other():
    frame = accuracy.models_numbers(all_tables(chosen(change=known)))
    assert len(frame) == 16
    found = only(frame, dataset="MNIST", configuration="SGD · 0.0001 · bs 16")
    assert found["measured_18"] == pytest.approx(100 * (0.5 + 0.01 + 0.002))
    assert found["measured_50"] == pytest.approx(100 * (0.5 + 0.01 + 0.002 - 0.03))
    assert (found["published_18"], found["published_50"]) == (98.48, 97.91)


def test_heatmaps_have_every_hyper_parameter_and_the_published_rows():
    frame = heatmaps.heatmap_numbers(chosen(change=known), "MNIST")
    assert list(dict.fromkeys(frame[frame["model"] == "ResNet-18"]["row"])) == [
        "bs 16 · 2 ep",
        "bs 16 · 5 ep",
        "bs 16 · 5 ep · published",
        "bs 32 · 2 ep",
        "bs 32 · 5 ep",
        "bs 32 · 5 ep · published",
    ]
    assert len(frame) == 2 * 6 * 4
    measured = only(frame, model="ResNet-50", row="bs 32 · 2 ep", column="Adam · 0.0001")
    assert measured["measured"] == pytest.approx(100 * (0.5 + 0.01 + 0.01 - 0.03))
    printed = only(frame, model="ResNet-50", row="bs 32 · 5 ep · published", column="SGD · 0.0001")
    assert (printed["published"], printed["n"]) == (96.87, 0)


def test_pinned_memory_has_rows_of_its_own_where_it_changes_a_value():
    def change(spec):
        pinned = getattr(spec, "pin_memory", False) and spec.batch_size == 16
        return {"test_accuracy": 0.91 if pinned else 0.9}

    rows = set(heatmaps.heatmap_numbers(chosen(change=change), "MNIST")["row"])
    assert {"bs 16 · 2 ep", "bs 16 · 2 ep · pin", "bs 32 · 2 ep"} <= rows
    assert "bs 32 · 2 ep · pin" not in rows


def test_training_times_are_means_over_what_does_not_change_the_work():
    def change(spec):
        slow = isinstance(spec, ResNetSpec) and spec.pin_memory
        return {"train_time_s": 14.0 if slow else 10.0}

    frame = times.time_numbers(chosen(change=change))
    assert len(frame) == 32
    found = only(
        frame, dataset="FashionMNIST", configuration="SGD · bs 32 · 2 ep", model="ResNet-18"
    )
    assert (found["measured"], found["n"], found["published"]) == (12.0, 4, 341.6)
    # Table 8's times are of batch size 32 and 2 epochs.
    assert frame["published"].notna().sum() == 4


def test_machine_numbers_are_those_of_tables_5_and_6():
    frame = svms.svm_numbers(all_tables(chosen(change=known)))
    assert len(frame) == 3 * 2 * 12
    where = {"dataset": "MNIST", "kernel": "poly", "C": 10.0, "gamma": "auto"}
    accuracy_row = only(frame, quantity="accuracy_pct", **where)
    assert (accuracy_row["measured"], accuracy_row["published"]) == (pytest.approx(80), 95.35)
    time = only(frame, quantity="train_time_s", **where)
    assert (time["measured"], time["published"]) == (pytest.approx(0.1), 16.2)


def test_what_a_gpu_was_not_there_for_is_said_beside_the_published_values():
    tables = all_tables(chosen(change=known))
    frame = devices.device_numbers(tables, devices.TIME)
    assert list(frame["device"][:2]) == ["CPU", "CUDA"]
    found = only(frame, configuration="ResNet-50 · Adam", device="CUDA")
    assert math.isnan(found["measured"])
    assert (found["absent"], found["published"]) == ("not measured: no CUDA device", 125.7)
    for draw in (devices.time_figure, devices.accuracy_figure, devices.combined_figure):
        figure = draw(tables)
        assert "CUDA: not measured: no CUDA device" in texts(figure)
        names = {trace.name for trace in figure.drawing.data}
        assert {"CPU", "CUDA", "published"} <= names
    speedup = devices.speedup_numbers(tables)
    assert list(speedup["published"]) == [5.43, 6.75, 9.53, 10.19]
    assert speedup["measured"].isna().all()


def test_speed_ups_are_those_of_table_9():
    def change(spec):
        return {"train_time_s": 2.0 if spec.device == "cuda" else 14.0}

    tables = all_tables(chosen(QUICK, change))
    speedup = devices.speedup_numbers(tables)
    assert list(speedup["measured"]) == [7.0] * 4
    assert "not measured" not in texts(devices.combined_figure(tables))


def test_learning_curves_are_of_the_champions_and_a_band():
    asked = []

    def counted(run_id, metric):
        asked.append((run_id, metric))
        return history(run_id, metric)

    specs = [s for s in ON_CPU if isinstance(s, ResNetSpec) and s.study == "resnet_grid"]
    specs = [s for s in specs if s.dataset == "MNIST" and s.batch_size == 16 and s.epochs == 5]
    selection = chosen(specs, known)
    frame = learning.learning_numbers(selection, counted)
    best = selection.of("resnet_grid")
    chosen_cell = next(
        c
        for c in best
        if c.finished
        and c.key("model", "optimizer", "learning_rate", "pin_memory")
        == ("resnet18", "Adam", 0.001, False)
    )
    loss = frame[(frame["metric"] == "train_loss") & (frame["line"] == "ResNet-18")]
    start = int(chosen_cell.run_id[3:]) / 1000
    assert list(loss["epoch"]) == [1, 2]
    assert list(loss["value"]) == pytest.approx([start + 0.2, start + 0.1])
    accuracies = frame[(frame["metric"] == "val_accuracy") & (frame["line"] == "ResNet-18")]
    assert list(accuracies["value"]) == pytest.approx([100 * (start + 0.2), 100 * (start + 0.1)])
    band = frame[(frame["metric"] == "train_loss") & (frame["line"] == "other configurations")]
    assert (band["low"] < band["high"]).all()
    # 8 configurations without pinned memory, two of them champions; each curve once.
    assert len(asked) == len(set(asked)) == 2 * 8


def test_learning_curves_that_nobody_logged_are_left_out():
    assert learning.learning_figure(chosen(change=known), lambda run_id, metric: []) is None


def test_pareto_front_is_of_measured_configurations():
    frame = times.frontier_numbers(chosen(change=known))
    on_front = frame[frame["is_optimal"]]
    assert set(on_front["source"]) == {"measured"}
    for _, points in on_front.groupby("dataset"):
        ordered = points.sort_values("time_s")
        assert ordered["accuracy_pct"].is_monotonic_increasing
        assert ordered["time_s"].is_unique
    fast = frame[(frame["dataset"] == "MNIST") & (frame["source"] == "measured")]
    assert on_front["time_s"].min() == fast["time_s"].min()
    printed = frame[frame["source"] == "published"]
    assert len(printed) == 24 + 8
    assert only(printed, configuration="SGD, lr=0.001, bs=32, epochs=2, CUDA", model="ResNet-18")[
        "time_s"
    ] == pytest.approx(63.0)


def test_flops_stand_with_accuracies():
    frame = complexity.flops_numbers(chosen(change=known))
    counts = frame.groupby(["source", "model"])["flops"].unique().map(list).to_dict()
    assert counts["measured", "ResNet-18"] == [33_180_000.0]
    assert counts["measured", "SVM rbf"] == [5e6]
    assert counts["published", "ResNet-50"] == [78_760_000.0]


def test_confusions_are_counted_and_the_most_frequent_shown():
    frame = confusion.confusion_numbers((), [predictions(""), predictions("")])
    assert len(frame) == 100
    assert frame["count"].sum() == 26
    assert only(frame, label="9", predicted="4")["count"] == 4
    pairs = confusion.confused_pairs(frame)
    assert pairs[["label", "predicted", "count"]].to_numpy().tolist() == [
        ["9", "4", 4],
        ["7", "1", 2],
    ]
    selection = chosen(change=known)
    best = champion(selection, "resnet_grid", "MNIST", keys.VAL_ACCURACY)
    asked = []

    def shown(dataset, index):
        asked.append((dataset, index.tolist()))
        return pixels(dataset, index)

    with_images = confusion.confusion_figure(
        best,
        "MNIST",
        Source(selection.runs, predictions=predictions, pixels=shown),
    )
    assert asked == [("MNIST", [110, 111]), ("MNIST", [112])]
    sheet = with_images.drawing.data[1].z
    assert (sheet[0][0], sheet[0][31], sheet[31][0]) == (110, 111, 112)
    assert sheet[0][28] is None
    assert "3 of 13 are wrong" in with_images.caption
    for without in (None, lambda dataset, index: None):
        figure = confusion.confusion_figure(
            best,
            "MNIST",
            Source(selection.runs, predictions=predictions, pixels=without),
        )
        assert len(figure.drawing.data) == 1
    assert confusion.confusion_figure(best, "MNIST", Source(selection.runs)) is None


def test_published_against_measured_leaves_out_what_was_not_measured():
    frame = agreement.agreement_numbers(AGREEMENT)
    columns = ["metric", "description", "published", "measured", "agrees"]
    assert frame[columns].to_numpy().tolist() == [
        ["accuracy", "a", 98.95, 98.9, "agrees"],
        ["f1", "b", 0.9, 0.8, "differs"],
        ["train_time_s", "c", 9.0, 1.0, "not judged"],
    ]
    # Differences, and ratios of times.
    assert frame["gap"].tolist() == pytest.approx([-0.05, -0.1, 1 / 9])
    # Only what is published can lack a measurement.
    assert "Not measured" not in agreement.agreement_figure(AGREEMENT).caption
    lacking = pd.concat([AGREEMENT, pd.DataFrame([{"metric": "speedup", "published": 7.5}])])
    assert "Not measured: Speed-up." in agreement.agreement_figure(lacking).caption
    assert agreement.agreement_figure(NO_AGREEMENT) is None


@pytest.mark.parametrize(
    ("values", "zero", "ends"),
    [
        ([98.0, 99.0], True, (97, pytest.approx(99.12))),
        ([10.0, 90.0], True, (0, pytest.approx(95.4))),
        ([60.0, 90.0], False, (55, pytest.approx(92.1))),
        ([math.nan, 99.9], False, (99, pytest.approx(99.954))),
        ([], False, (0, pytest.approx(101))),
    ],
)
def test_axes_of_percents_hold_their_values(values, zero, ends):
    assert percent_range(values, zero=zero) == ends


def test_axes_of_times_hold_their_values():
    low, high = time_range([2.0, 341.6, math.nan])
    assert low == 0
    assert 10**high > 341.6
    assert time_range([]) == (-1, pytest.approx(1.2))


def test_an_entity_has_one_colour_in_all_figures(figures):
    entities = ("ResNet-18", "ResNet-50", "SVM rbf", "SVM poly", "CPU", "CUDA")
    assert len({colour(name) for name in entities}) == len(entities)
    for figure in figures:
        for trace in figure.drawing.data:
            if trace.name in entities:
                drawn = {trace.marker.color, getattr(trace, "line", trace.marker).color} - {None}
                assert drawn == {colour(trace.name)}


def test_nothing_measured_leaves_no_panel_without_a_word():
    """One cell finished: every panel still has published values, or says why it is empty."""
    selection = chosen(ON_CPU[:1])
    drawn = figures_of(selection, agreement=NO_AGREEMENT, predictions=lambda run_id: None)
    assert [figure.stem for figure in drawn if figure.stem.startswith("figure-")] == STEMS[:9]
    for figure in drawn:
        used = {trace.yaxis or "y" for trace in figure.drawing.data}
        said = {
            annotation.yref.removesuffix(" domain")
            for annotation in figure.drawing.layout.annotations
        }
        for axis in figure.drawing.select_yaxes():
            name = axis.plotly_name.replace("axis", "")
            assert name in used | said, (figure.stem, name)
    assert "missing" in texts(next(f for f in drawn if f.stem == "figure-01"))


def test_a_figure_of_a_cell_beyond_the_grid_is_drawn():
    """A momentum of the user's own is a row of its own in every figure of the networks."""
    rows = [row(spec, number=i, **known(spec)) for i, spec in enumerate(ON_CPU)]
    own = dict(rows[0], run_id="own00001", fingerprint="own", momentum=0.5, name="own")
    selection = select(pd.DataFrame([*rows, own]), expected, REASONS, "quick")
    frame = heatmaps.heatmap_numbers(selection, str(own["dataset"]))
    assert any("momentum=0.5" in text for text in frame["row"])
    assert isinstance(figures_of(selection)[1], Figure)
