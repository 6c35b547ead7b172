"""What was published on a user's study: numbers compared, claims judged, mistakes in one line."""

import json
import shutil
from pathlib import Path

import pandas as pd
import paper_study
import pytest
from click.testing import CliRunner, Result

from mnist_ops.cli import main
from mnist_ops.study import lookup

PUBLISHED = """\
table,depth,leaf,metric,value
1,8,1,accuracy,63.30
1,1,1,accuracy,92.50
2,1,2,f1,0.18
,8,2,train_time_s,3.5s
,16,1,accuracy,80.1
"""
SUMMARIZE = ["summarize", "--study", "my_study.py", "--format", "json"]


@pytest.fixture
def file(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, its numbers beside it, and nothing known of it yet."""
    monkeypatch.setattr(lookup, "registered", {})
    path = home / "my_study.py"
    shutil.copy(paper_study.__file__, path)
    (home / "published.csv").write_text(PUBLISHED)
    return path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def good(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("mnist-ops: ")]
    return line


def findings(folder: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(Path(folder, "findings.json").read_text())
    return found


def test_numbers_and_claims_are_judged(file: Path, home: Path) -> None:
    good("run", "my_study.py", "--workers", "0", "--device", "cpu")
    told = good(*SUMMARIZE)
    assert "3 findings (quick: Trees, 3 seeds): 1 supported, 1 refuted, 1 undecidable" in told
    assert "5 published numbers, agreeing: no 1, not comparable 1, not measured 1, yes 2" in told
    table = pd.read_csv("report/published-vs-measured.csv", keep_default_na=False)
    assert dict(zip(table["description"], table["agrees"], strict=True)) == {
        "table 1, depth 8, leaf 1": "yes",
        "table 1, depth 1, leaf 1": "no",
        "table 2, depth 1, leaf 2": "yes",
        "depth 8, leaf 2": "not comparable",
        "depth 16, leaf 1": "not measured",
    }
    assert table["note"].tolist()[-1] == "not in the study's grid"
    # The measured number is the mean of the runs of that very configuration.
    runs = pd.read_csv("report/tables/table-04.csv")
    of_first = runs[(runs["depth"] == 8) & (runs["leaf"] == 1)]["score"]
    assert float(table["measured"][0]) == pytest.approx(of_first.item(), abs=0.01)
    assert pd.read_csv("report/tables/table-05.csv")["accuracy_n"][0] == 3

    better, equal, undecided = findings("report")
    assert [each["verdict"] for each in (better, equal, undecided)] == [
        "supported",
        "refuted",
        "undecidable",
    ]
    assert better["published"] == "higher in 0 of 1 printed pairs, by -29.20 points on average"
    # A user's arguments tell configurations apart: two of these differ in leaf alone.
    assert "2 of 2 matched configurations are higher by more than 2" in str(better["explanation"])
    assert "2 matched configurations of 12 runs" in str(undecided["explanation"])
    assert undecided["missing"]

    page = Path("report/index.html").read_text()
    for text in ("Deep trees are better", "A. Author, 2020", "On the depth of trees, rerun"):
        assert text in page
    for anchor in ("answers", "findings", "published"):
        assert f'id="{anchor}"' in page


def test_other_claims_on_the_same_runs(file: Path, home: Path) -> None:
    good("run", "my_study.py", "--workers", "0", "--device", "cpu")
    text = file.read_text()
    leaves = 'Better("Smaller leaves are better", first={"leaf": 1}, second={"leaf": 2})'
    assert leaves in text
    sides = 'first={"leaf": 1}, second={"leaf": 2}'
    others = [
        f'Equal("Leaves hardly matter", {sides}, within=30)',
        f'Equal("Leaves do not matter", {sides}, within=8)',
        f'Equal("Nor do they anywhere", {sides}, within=60, everywhere=True)',
        'Better("Much better", {"depth": 8}, {"depth": 1}, by=70)',
        'Better("Better here", {"depth": 8, "leaf": 2}, {"depth": 1, "leaf": 2})',
        'Better("By much here", {"depth": 8, "leaf": 2}, {"depth": 1, "leaf": 2}, by=18)',
    ]
    file.write_text(text.replace(leaves, ", ".join(others)).replace('published="p', '# ="p'))
    told = good(*SUMMARIZE)
    assert "published numbers" not in told
    assert not Path("report/published-vs-measured.csv").exists()
    verdicts = {str(each["claim"]): each for each in findings("report")[2:]}
    assert {claim: each["verdict"] for claim, each in verdicts.items()} == {
        "Leaves hardly matter": "supported",
        "Leaves do not matter": "undecidable",
        "Nor do they anywhere": "supported",
        "Much better": "refuted",
        "Better here": "supported",
        "By much here": "undecidable",
    }
    # What would decide it names configurations by the user's arguments, too.
    assert "depth=1, leaf=2" in str(verdicts["By much here"]["missing"])
    assert verdicts["Better here"]["n"] == 1


def test_at_another_size_no_number_is_judged(file: Path, home: Path) -> None:
    good("run", "my_study.py", "--workers", "0", "--device", "cpu", "--preset", "tiny")
    told = good(*SUMMARIZE)
    assert "5 published numbers, agreeing: not comparable 4, not measured 1" in told
    assert "Not the study's size." in Path("report/index.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("table,depth,leaf", "table,dept,leaf", "line 1: column 'dept' is no axis of study trees"),
        ("metric,value", "metric,number", "line 1: there is no column value"),
        ("63.30", "63,30", "line 2: it has not as many fields as line 1"),
        ("92.50", "high", "line 3: value takes numbers from 0 on, got 'high'"),
        ("63.30", "nan", "line 2: value takes numbers from 0 on, got 'nan'"),
        ("63.30", "0.633", "line 2: accuracy is in percent, 0.987 is 98.7; got '0.633'"),
        ("0.18", "15", "line 4: f1 is at most 1, got 15"),
        ("f1", "recall", "line 4: metric must be one of accuracy, f1, train_time_s; got 'recall'"),
        ("1,8,1,", "1,deep,1,", "line 2: depth takes numbers, got 'deep'"),
        ("1,8,1,", "1,8,,", "line 2: 2 configurations of study trees have these values: give"),
        ("1,1,1,", "1,8,1,", "line 3: there is a number for accuracy, table 1, depth 8, leaf 1"),
        (PUBLISHED.partition("\n")[2], "", "published.csv has no numbers"),
        (PUBLISHED, "", "line 1: there is no column metric"),
    ],
)
def test_numbers_that_are_wrong_end_in_one_line(
    file: Path, old: str, new: str, told: str, home: Path
) -> None:
    assert old in PUBLISHED
    (home / "published.csv").write_text(PUBLISHED.replace(old, new, 1))
    line = refused(*SUMMARIZE)
    assert "published.csv" in line
    assert told in line
    assert not Path("report").exists()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"published.csv"', '"none.csv"', "none.csv: No such file"),
        ('preset="quick"', 'preset="full"', "preset must be one of quick, tiny; got 'full'"),
        ('first={"leaf": 1}', 'first={"laef": 1}', "an axis of study trees must be one of"),
        ('first={"leaf": 1}', 'first={"leaf": 9}', "study trees has no leaf 9; its values: 1, 2"),
        ('first={"leaf": 1}', 'first={"leaf": 2}', "first and second are the same"),
        ('first={"leaf": 1}', 'first={"depth": 8}', "2 configurations with depth=8 stand against"),
        ('first={"leaf": 1}', "first=1", "first names axes and their values"),
        ("by=2", "by=-2", "by is a number from 0 on, got -2"),
        ("within=2", 'within="2"', "within is a number above 0, got '2'"),
        ("paper=OwnPaper(", "paper=dict(", "paper of study trees is an OwnPaper, got"),
    ],
)
def test_a_paper_that_is_wrong_ends_in_one_line(
    file: Path, old: str, new: str, told: str, home: Path
) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    assert told in refused(*SUMMARIZE)
    assert not Path("report").exists()
