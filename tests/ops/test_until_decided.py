"""Seeds that decide claims: planned, run in rounds, stopped when they should be."""

import dataclasses
import json
from pathlib import Path

import decided_study
import pytest
from click.testing import CliRunner
from displays import Recorder
from mlflow import MlflowClient

from mnist_ops import tracking
from mnist_ops.cli import main
from mnist_ops.cli.until_decided import _effect
from mnist_ops.compare import statistics
from mnist_ops.compare.cells import FINISHED, Cell
from mnist_ops.compare.findings import sequential
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.findings.need import configuration_of
from mnist_ops.compare.findings.sequential import Look
from mnist_ops.core import cancellation, keys
from mnist_ops.core.errors import InvalidInput
from mnist_ops.ops.reports import PAPER
from mnist_ops.ops.until_decided import Decider
from mnist_ops.runner import engine
from mnist_ops.runner.settings import Settings
from mnist_ops.study import lookup
from pipelines.paper import PAPERS

IN_PROCESS = Settings(workers=0, device="auto")


@pytest.fixture
def decider(home: Path, monkeypatch: pytest.MonkeyPatch) -> Decider:
    """What decides the claims of the study, in a store without runs."""
    monkeypatch.setattr(lookup, "registered", {})
    decided_study.STUDY.register()
    return Decider(decided_study.PAPER, IN_PROCESS)


def first_runs(preset: str) -> None:
    settings = Settings(preset=preset, workers=0)
    (report,) = engine.run([decided_study.STUDY], settings, Recorder())
    assert report.succeeded


def seeds_of(client: MlflowClient, model: str) -> list[int]:
    runs = tracking.cell_runs(client)
    return sorted(map(int, runs[runs[keys.MODEL] == model][keys.SEED]))


def test_what_could_not_be_tested_gets_the_seeds_that_show_the_noise(
    decider: Decider, client: MlflowClient
) -> None:
    first_runs("one")
    plan = decider.plan(["1"], None, None)
    (claim,) = plan.active
    assert claim.look.plan == sequential.FIRST_SEEDS
    assert len(plan.cells) == 4
    result = decider.run(plan, Recorder())
    (ended,) = result.ended
    assert ended.finding.verdict == Verdict.SUPPORTED
    assert ended.how == "after the first seeds"
    # There was no look before it, so that only the other two claims are corrected for (Holm).
    assert ended.finding.p_value == pytest.approx(ended.finding.p_value_unadjusted * 3)
    assert seeds_of(client, "sharp") == seeds_of(client, "blunt") == [0, 1, 2]
    assert seeds_of(client, "rather_right") == [0]


@pytest.mark.slow
def test_a_large_effect_ends_after_the_first_round(decider: Decider, client: MlflowClient) -> None:
    first_runs("three")
    plan = decider.plan([], None, None)
    assert [claim.finding.id for claim in plan.claims] == ["2", "3"]
    (claim, _) = plan.active
    assert claim.look == Look(1, 1, 3)
    assert claim.is_sure
    result = decider.run(decider.plan(["2"], "three", None), Recorder())
    (ended,) = result.ended
    assert ended.finding.verdict == Verdict.SUPPORTED
    assert ended.how == "after round 1 of 3"
    first_round = [cell.seed for cell in claim.cells(1) if cell.model == "rather_right"]
    assert seeds_of(client, "rather_right") == [*decided_study.FIRST, *first_round]
    # The next ones by number.
    assert first_round == list(range(3, 3 + len(first_round)))
    # Who judges the same runs later corrects for the looks as well: half of the 5% are the plan's,
    # and a tenth of that its first look's, of three.
    claims = decider.plan(["1", "2", "3"], None, None).claims
    found = [claim.finding for claim in claims]
    assert found[1] == ended.finding
    assert claims[1].obstacle == "it is decided already"
    assert "multiplied by 20" in found[1].explanation
    one, two, three = (finding.p_value_unadjusted for finding in found)
    adjusted = statistics.holm([one, min(1.0, 20 * two), three])
    assert [finding.p_value for finding in found] == pytest.approx(adjusted)
    runs = tracking.cell_runs(client)
    asked = runs[runs["until_decided"].notna()]
    assert set(asked["until_decided"]) == {'{"2": [1, 1, 3]}'}
    assert set(asked[keys.SEED].astype(int)) == set(first_round)


@pytest.mark.slow
def test_without_an_effect_it_ends_with_the_rounds(decider: Decider, client: MlflowClient) -> None:
    first_runs("three")
    plan = decider.plan(["3"], None, None)
    result = decider.run(plan, Recorder())
    (ended,) = result.ended
    assert ended.finding.verdict == Verdict.UNDECIDABLE
    assert ended.how == "after round 3 of 3"
    assert len(result.reports) == 3
    assert len(seeds_of(client, "fading")) == 3 + len(plan.cells) // 2
    # A second plan has half of what the first one left, if there is one.
    (again,) = decider.plan(["3"], None, None).claims
    assert again.look.plan == 2
    assert again.look.of_plan[-1].factor >= 4


@pytest.mark.slow
def test_an_interrupted_plan_goes_on(decider: Decider, client: MlflowClient) -> None:
    first_runs("three")
    planned = decider.plan(["3"], None, None)
    display = Interrupting(after=len(planned.active[0].cells(1)) + 1)
    with pytest.raises(KeyboardInterrupt):
        decider.run(planned, display)
    again = decider.plan(["3"], None, None)
    (claim,) = again.active
    assert claim.look == Look(1, 2, 3)
    done = {run.data.tags[keys.FINGERPRINT] for run in tracking.counted_runs(client)}
    assert set(again.cells) == {c for c in planned.cells if c.fingerprint not in done}
    (ended,) = decider.run(again, Recorder()).ended
    assert ended.how == "after round 3 of 3"
    assert len(seeds_of(client, "fading")) == 3 + len(planned.cells) // 2


def test_what_does_not_fit_into_the_budget_is_not_begun(decider: Decider) -> None:
    first_runs("three")
    whole = decider.plan(["2"], None, None)
    short = decider.plan(["2"], None, whole.seconds(whole.cells) / 3600 / 2)
    assert not short.active
    assert "cannot be settled within" in short.claims[0].obstacle
    result = decider.run(short, Recorder())
    assert not result.reports
    assert result.ended[0].finding.verdict == Verdict.UNDECIDABLE


def test_a_round_that_takes_longer_than_the_budget_is_stopped(
    decider: Decider, client: MlflowClient
) -> None:
    first_runs("three")
    # Runs take far longer than their fits, which the estimate is made of.
    whole = decider.plan(["2"], None, None)
    plan = decider.plan(["2"], None, 1.01 * whole.seconds(whole.cells) / 3600)
    assert plan.active
    (ended,) = decider.run(plan, Recorder()).ended
    assert ended.finding.verdict == Verdict.UNDECIDABLE
    assert "continues it" in ended.how
    assert not cancellation.requested()
    assert len(seeds_of(client, "rather_right")) < 3 + len(plan.cells) // 2


def test_what_a_paper_does_not_have(decider: Decider) -> None:
    first_runs("one")
    with pytest.raises(InvalidInput, match="claim must be one of 1, 2, 3"):
        decider.plan(["4"], None, None)
    with pytest.raises(InvalidInput, match="preset must be one of one, three"):
        decider.plan(["1"], "paper", None)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_all_looks_together_spend_no_more_than_there_is(rounds: int) -> None:
    plans = [Look(plan, rounds, rounds).of_plan for plan in range(1, 15)]
    assert sum(1 / look.factor for looks in plans for look in looks) < 1
    (first, *_) = plans
    assert sum(1 / look.factor for look in first) == pytest.approx(1 / 2)


def test_rounds_share_the_seeds() -> None:
    for count in range(1, 20):
        rounds = sequential.number_of_rounds(count)
        parts = sequential.split(range(10, 10 + count), rounds)
        assert len(parts) == rounds
        assert [seed for part in parts for seed in part] == list(range(10, 10 + count))
        assert all(parts)


def test_tags_that_cannot_be_read_are_no_looks(decider: Decider, client: MlflowClient) -> None:
    first_runs("one")
    runs = tracking.cell_runs(client)
    for text in ("", "[]", '{"1": 3}', '{"1": [1, 4, 3]}', '{"1": [-1, 1, 3]}', "{", '{"1": null}'):
        assert sequential.latest(runs.assign(until_decided=text)) == {}
    tag = sequential.tag({"1": Look(2, 1, 3)})
    assert sequential.latest(runs.assign(until_decided=tag)) == {"1": Look(2, 1, 3)}


class Interrupting(Recorder):
    """A user who presses Ctrl-C after so many runs."""

    def __init__(self, after: int):
        super().__init__()
        self.after = after

    def outcome(self, outcome) -> None:
        super().outcome(outcome)
        if len(self.outcomes) == self.after:
            cancellation.request()


def call(*arguments: str):
    return CliRunner().invoke(main, ["run", *arguments], catch_exceptions=False)


def test_the_command(
    decider: Decider, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PAPERS, PAPER, decided_study.PAPER)
    first_runs("three")
    before = len(tracking.cell_runs(client))
    dry = call("--until-decided", "2", "1", "--hours", "2", "--workers", "0", "--dry-run")
    assert dry.exit_code == 0, dry.output
    lines = dry.stdout.splitlines()
    assert lines[0].split() == [
        "Claim",
        "Verdict",
        "now",
        "Effect",
        "Configs",
        "Seeds",
        "now",
        "More",
        "runs",
        "Time",
    ]
    assert lines[2].startswith("2      undecidable")
    assert "2: rather_right is better than rather_wrong" in lines
    assert "Nothing is run: it is decided already." in dry.stdout
    assert "  by round, 1: " in dry.stdout
    assert "with 1 worker, of 2 h." in dry.stdout
    assert "multiplied by 20, 10, 2.86" in dry.stdout
    assert max(map(len, lines)) <= 80
    assert len(tracking.cell_runs(client)) == before
    monkeypatch.setenv("COLUMNS", "40")
    narrow = call("--until-decided", "2", "--dry-run").stdout.splitlines()
    assert max(map(len, narrow)) <= 40
    assert narrow[0].startswith("claim 2, verdict now undecidable,")
    monkeypatch.delenv("COLUMNS")
    for_program = json.loads(call("--until-decided", "2", "--dry-run", "--json").stdout)
    (claim,) = for_program["claims"]
    seeds = [each["seeds_by_round"] for each in claim["configurations"]]
    assert len(tracking.cell_runs(client)) == before
    done = call("--until-decided", "2", "--workers", "0")
    assert done.exit_code == 0, done.output
    assert "2: supported (after round 1 of 3, effect " in done.stdout
    assert len(tracking.cell_runs(client)) == before + sum(len(each[0]) for each in seeds)
    again = call("--until-decided", "2", "--workers", "0", "--json")
    assert json.loads(again.stdout)["ended"][0]["how"] == "it is decided already"


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    finding = Finding(
        id="1",
        claim="",
        section="",
        published="",
        verdict=Verdict.UNDECIDABLE,
        effect=-0.004,
        effect_unit="",
        interval=(-0.75, -0.003),
        p_value=None,
        p_value_unadjusted=None,
        n=1,
        scope="",
        explanation="",
        missing="",
    )
    assert _effect(finding) == "0.00 (\N{MINUS SIGN}0.75 to 0.00)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until-decided", "3.5.11"], "did you mean 3.5.1"),
        (["--until-decided", "svm_grid"], "claim must be one of"),
        (["--until-decided", "3.5.1", "--preset", "qick"], "did you mean quick?"),
        (["--until-decided", "3.5.1", "--seeds", "3", "--plain"], "leave out --seeds, --plain"),
        (["--until-decided", "3.5.1", "--report", "out"], "use `mnist-ops summarize`"),
        (["svm_grid", "--hours", "2"], "--hours needs --until-decided"),
        ([], "Missing argument 'STUDY'"),
        (["svm_grid", "resnet_grid"], "Name one study"),
    ],
)
def test_wrong_use(home: Path, arguments: list[str], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_empty_store(home: Path) -> None:
    result = call("--until-decided", "3.5.1")
    assert result.exit_code == 1
    assert "no runs" in result.stderr


def test_a_cell_with_weight_decay_is_of_another_configuration() -> None:
    params = {keys.DATASET: "MNIST", keys.MODEL: "resnet18", keys.SEED: 0, keys.WEIGHT_DECAY: 0.0}
    cell = Cell("a" * 16, "a", "resnet_grid", FINISHED, "", True, params, {})
    other_seed = dataclasses.replace(cell, params=params | {keys.SEED: 1})
    decayed = dataclasses.replace(cell, params=params | {keys.WEIGHT_DECAY: 0.01})
    assert configuration_of(other_seed) == configuration_of(cell)
    assert configuration_of(decayed) != configuration_of(cell)
