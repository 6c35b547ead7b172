"""From all runs of a store to the runs that count."""

import dataclasses

import pandas as pd
import pytest
from compare_runs import cuda_not_measured, expected, frame, row, select, store

from mnist_ops.compare import NoRuns
from mnist_ops.compare.runs import COLUMNS, typed
from mnist_ops.compare.selection import Coverage

QUICK = expected("quick")
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]
REASONS = cuda_not_measured(QUICK)


def texts(selection):
    return [note.text for note in selection.notes]


def test_full_store_without_a_gpu():
    selection = select(store(ON_CPU), expected, REASONS)
    assert selection.preset == "quick"
    assert [row.expected for row in selection.coverage] == [128, 24, 8]
    assert selection.total == Coverage("", 160, 156, 0, 0, 4, 0, 0)
    assert len(selection.runs) == 156
    assert selection.notes == ()
    assert {cell.reason for cell in selection.not_finished} == {"not measured: no CUDA device"}


def test_every_kind_of_not_finished_is_counted_and_named():
    runs = store(ON_CPU)
    runs.loc[0, ["status", "error"]] = ["FAILED", "ValueError: no\nTraceback"]
    runs.loc[1, "status"] = "RUNNING"
    runs.loc[2, "status"] = "KILLED"
    runs.loc[3, "test_accuracy"] = float("nan")
    runs = runs.drop(index=[4, 5])
    selection = select(runs, expected, REASONS)
    assert selection.total == Coverage("", 160, 150, 2, 2, 4, 2, 0)
    reasons = {cell.name: (cell.status, cell.reason) for cell in selection.not_finished}
    assert reasons[QUICK[0].name] == ("failed", "ValueError: no")
    assert reasons[QUICK[1].name] == ("unfinished", "still running, or ended without a word")
    assert reasons[QUICK[2].name] == ("unfinished", "killed")
    assert reasons[QUICK[3].name] == ("failed", "finished without a usable accuracy")
    assert reasons[QUICK[4].name] == ("missing", "no run in the store")
    broken = selection.notes[0]
    assert broken.text == "1 run finished without a usable accuracy: not used."
    assert broken.names == (QUICK[3].name,)


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf"), -0.1, 97.0, None, "?"])
def test_unusable_accuracy_counts_for_nothing(accuracy):
    runs = frame([row(QUICK[0]), row(QUICK[1], number=1, test_accuracy=accuracy)])
    selection = select(runs, expected, {})
    assert selection.total.finished == 1
    assert selection.total.failed == 1


def test_of_duplicates_the_latest_counts():
    first = row(QUICK[0], number=5, test_accuracy=0.1)
    later = row(QUICK[0], number=9, test_accuracy=0.2)
    broken = row(QUICK[0], number=12, test_accuracy=float("nan"))
    failed = row(QUICK[0], number=15, status="FAILED")
    selection = select(frame([later, failed, first, broken]), expected, {})
    assert selection.runs["test_accuracy"].tolist() == [0.2]
    assert selection.total.finished == 1
    repeated = selection.notes[-1]
    assert repeated.text.startswith("1 run repeated later")
    assert repeated.names == (QUICK[0].name,)


def test_the_fullest_preset_is_chosen():
    paper = expected("paper")
    runs = pd.concat([store(ON_CPU[:5]), store(paper[:3], "paper")])
    selection = select(runs, expected, {})
    assert selection.preset == "quick"
    assert texts(selection) == ["3 runs of other presets not used: paper (3)."]


def test_of_equally_full_presets_the_larger_is_chosen():
    runs = pd.concat([store(QUICK[:3]), store(expected("paper")[:3], "paper")])
    assert select(runs, expected, {}).preset == "paper"


def test_failed_runs_do_not_make_a_preset_full():
    failed = store(expected("paper")[:9], "paper", lambda spec: {"status": "FAILED"})
    assert select(pd.concat([store(QUICK[:2]), failed]), expected, {}).preset == "quick"


def test_asked_preset_is_used():
    runs = pd.concat([store(QUICK[:5]), store(expected("paper")[:2], "paper")])
    selection = select(runs, expected, {}, preset="paper")
    assert (selection.preset, selection.total.finished) == ("paper", 2)


def test_cells_of_the_same_size_are_shared_between_presets():
    """The networks of paper and rigorous are as large: seed 0 counts for both."""
    paper = [spec for spec in expected("paper") if spec.study == "resnet_grid"]
    selection = select(store(paper, "paper"), expected, {}, preset="rigorous")
    assert selection.coverage[0].finished == 128
    assert selection.coverage[0].expected == 640


def test_svms_of_another_size_are_not_shared():
    svms = [spec for spec in expected("paper") if spec.study == "svm_grid"]
    with pytest.raises(NoRuns, match=r"^no runs at preset rigorous; the store has runs at: paper$"):
        select(store(svms, "paper"), expected, {}, preset="rigorous")


def test_the_device_with_most_cells_is_used():
    on_cuda = [spec for spec in expected("quick", "cuda") if spec.study == "resnet_grid"]
    both = [spec for spec in QUICK if spec.study == "device_compare"]
    runs = pd.concat([store(QUICK[:5]), store(on_cuda[:9]), store(both)])
    selection = select(runs, expected, {})
    grid, _, device_compare = selection.coverage
    assert set(selection.runs["device"][selection.runs["study"] == "resnet_grid"]) == {"cuda"}
    # The expected cells follow the runs to their device: none counts as the user's own.
    assert (grid.expected, grid.finished, grid.missing, grid.extra) == (128, 9, 119, 0)
    assert device_compare.finished == 8
    assert texts(selection) == [
        "resnet_grid: the runs on cuda are used, where most cells finished; 5 runs on cpu not used."
    ]


def test_cells_beyond_the_grid_are_kept_and_counted():
    own = dataclasses.replace(QUICK[0], epochs=7)
    failed = dataclasses.replace(QUICK[0], epochs=8)
    runs = frame([row(QUICK[0]), row(own, number=1), row(failed, number=2, status="FAILED")])
    selection = select(runs, expected, {})
    assert (selection.total.expected, selection.total.extra) == (160, 2)
    assert selection.total.finished == 1
    assert len(selection.runs) == 2
    assert [cell.name for cell in selection.not_finished if not cell.expected] == [failed.name]


def test_a_size_of_the_users_own_expects_what_was_started():
    specs = [dataclasses.replace(spec, train_limit=100) for spec in QUICK[:4]]
    runs = store(specs)
    runs.loc[1, "status"] = "FAILED"
    selection = select(runs, expected, {})
    assert selection.preset == "custom-100-512"
    assert selection.total == Coverage("", 4, 3, 1, 0, 0, 0, 0)


def test_runs_without_a_fingerprint_are_named():
    runs = frame([row(QUICK[0]), row(QUICK[1], number=1, fingerprint=None, name="stray")])
    selection = select(runs, expected, {})
    assert selection.total.finished == 1
    assert selection.notes[0].names == ("stray",)


@pytest.mark.parametrize(
    "runs", [pd.DataFrame(), pd.DataFrame({"run_id": ["a"], "status": ["FINISHED"]})]
)
def test_no_runs_of_ours(runs):
    with pytest.raises(NoRuns, match="mnist-ops run all --preset quick") as raised:
        select(runs, expected, {})
    assert raised.value.exit_code == 1
    assert "\n" not in str(raised.value)


def test_the_order_of_the_runs_does_not_matter():
    runs = store(ON_CPU)
    again = select(runs.sample(frac=1, random_state=1), expected, REASONS)
    first = select(runs, expected, REASONS)
    assert again.cells == first.cells
    pd.testing.assert_frame_equal(again.runs, first.runs)


def test_any_column_may_be_missing():
    full = store(QUICK[:3])
    for column in COLUMNS:
        if column not in ("study", "fingerprint", "status", "test_accuracy"):
            selection = select(
                full.drop(columns=column, errors="ignore"), expected, {}, preset=None
            )
            assert len(selection.runs) == 3, column


def test_values_arrive_as_text_too():
    """A store gives params as text; what cannot be read is missing, not an error."""
    runs = frame([row(QUICK[0])]).astype(object)
    for column, text in {"epochs": "2", "pin_memory": "False", "learning_rate": "1e-3"}.items():
        runs[column] = text
    runs["batch_size"] = "many"
    read = typed(runs)
    assert read.loc[0, "epochs"] == 2
    assert read.loc[0, "pin_memory"] is False or not read.loc[0, "pin_memory"]
    assert read.loc[0, "learning_rate"] == 0.001
    assert pd.isna(read.loc[0, "batch_size"])
    assert set(COLUMNS) <= set(read.columns)


def foreign(specs, **changed):
    """The runs of a store that somebody else wrote: the same cells, fingerprints of its own."""
    runs = store(specs).drop(columns=["momentum", "precision", "amp", "degree"], errors="ignore")
    return runs.assign(fingerprint=[f"other-{i}" for i in range(len(runs))], **changed)


def test_runs_of_another_origin_count_as_the_expected_cells():
    selection = select(foreign(ON_CPU), expected, REASONS)
    assert selection.total == Coverage("", 160, 156, 0, 0, 4, 0, 0)
    assert [cell.name for cell in selection.cells] == [spec.name for spec in QUICK]
    assert set(selection.runs["fingerprint"]) == {spec.fingerprint for spec in ON_CPU}
    (note,) = selection.notes
    assert note.text.startswith("156 runs with fingerprints of another origin")
    assert len(note.names) == 156


def test_two_runs_of_one_cell_under_two_fingerprints_are_one_cell():
    runs = pd.concat(
        [
            frame([row(QUICK[0], number=1, test_accuracy=0.1)]),
            frame([row(QUICK[0], number=2, test_accuracy=0.2, fingerprint="b", name="again")]),
            frame([row(QUICK[0], number=3, status="FAILED", fingerprint="c")]),
        ]
    )
    selection = select(runs, expected, {})
    assert selection.runs["test_accuracy"].tolist() == [0.2]
    assert (selection.total.finished, selection.total.extra) == (1, 0)
    assert selection.notes[-1].text.startswith("1 run repeated later")
    assert selection.notes[-1].names == (QUICK[0].name,)


def test_two_runs_beyond_the_grid_under_two_fingerprints_are_one_cell():
    own = dataclasses.replace(QUICK[0], epochs=7)
    runs = frame([row(own, number=n, fingerprint=f"f{n}", test_accuracy=n / 10) for n in (1, 2)])
    selection = select(runs, expected, {})
    assert selection.runs["test_accuracy"].tolist() == [0.2]
    assert selection.total.extra == 1


def test_a_run_that_could_be_of_two_cells_is_of_none():
    runs = foreign(ON_CPU[:1]).drop(columns="pin_memory")
    selection = select(runs, expected, {})
    assert (selection.total.finished, selection.total.extra) == (0, 1)


def test_another_momentum_is_another_cell():
    own = dataclasses.replace(QUICK[0], momentum=0.0)
    selection = select(frame([row(own)]), expected, {})
    assert (selection.total.finished, selection.total.extra) == (0, 1)


def test_runs_of_another_origin_on_a_gpu_move_the_grid():
    on_cuda = [spec for spec in expected("quick", "cuda") if spec.study == "resnet_grid"]
    selection = select(foreign(on_cuda), expected, {})
    assert selection.coverage[0].finished == 128


def test_times_that_are_not_a_trainings_own_are_named() -> None:
    specs = [spec for spec in QUICK if spec.study == "resnet_grid"][:5]
    kinds = ["measured", "attributed", "attributed", None, "shared"]
    rows = [
        row(spec, number=number, time=kind)
        for number, (spec, kind) in enumerate(zip(specs, kinds, strict=True))
    ]
    chosen = select(pd.DataFrame(rows), expected, {})
    (note,) = [note for note in chosen.notes if "attributed" in note.text]
    assert note.text.startswith("2 of 5 training times are attributed")
    assert note.names == tuple(sorted(spec.name for spec in specs[1:3]))
    (note,) = [note for note in chosen.notes if "side by side" in note.text]
    assert note.text.startswith("1 of 5 training times are of trainings side by side")
    assert note.names == (specs[4].name,)
