"""The page: what it says, that all of it is text, and that it needs nothing from elsewhere."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from compare_runs import (
    all_tables,
    cuda_not_measured,
    expected,
    frame,
    row,
    select,
    store,
    summarize,
)

from mnist_ops.compare import Results, Source, page
from mnist_ops.compare.agreement import COLUMNS, agreement
from mnist_ops.compare.findings.evidence import Evidence
from mnist_ops.compare.findings.finding import Finding, Verdict
from mnist_ops.compare.predictions import no_predictions
from pipelines.paper import PAPER
from pipelines.paper.headlines import Headline

QUICK = expected("quick")
REASONS = cuda_not_measured(QUICK)
ON_CPU = [spec for spec in QUICK if spec.device == "cpu"]
EVIL = "<script>alert(1)</script>"

FINDING = Finding(
    id="2.8.1",
    claim="ResNet-18 is more accurate",
    section="2.8",
    published="Table 2",
    verdict=Verdict.SUPPORTED,
    effect=1.4721,
    effect_unit="percentage points",
    interval=(-0.3049, 1.64),
    p_value=0.00001,
    p_value_unadjusted=0.000001,
    n=1920,
    scope="quick, 1 seed",
    explanation="29 of 32 agree",
    missing="",
)
OPEN = Finding(
    **(
        {name: getattr(FINDING, name) for name in FINDING.__dataclass_fields__}
        | {
            "id": "4.5.1",
            "verdict": Verdict.UNDECIDABLE,
            "effect": None,
            "interval": None,
            "p_value": None,
            "n": 0,
            "missing": "a GPU",
        }
    )
)


def agreement_row(**changed):
    row = {
        "table": 2,
        "description": "MNIST, ResNet-18",
        "metric": "accuracy",
        "unit": "%",
        "published": 98.95,
        "measured": 98.5,
        "difference": -0.45,
        "low": 98.1,
        "high": 98.9,
        "agrees": "no",
        "agrees_official": "",
        "note": "a note",
    }
    return row | changed


AGREEMENT = pd.DataFrame(
    [
        agreement_row(),
        agreement_row(
            metric="train_time_s",
            published=341.6,
            measured=math.nan,
            difference=math.nan,
            low=math.nan,
            high=math.nan,
            agrees="not measured",
        ),
    ],
    columns=list(COLUMNS),
)


class Elements(HTMLParser):
    """Every element of a page: its name and attributes; and its ids."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.ids = [attributes["id"] for _, attributes in self.found if "id" in attributes]

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def selected(runs=None, reasons=REASONS):
    return select(store(ON_CPU) if runs is None else runs, expected, reasons, "quick")


def rendered(selection=None, *, figures=False, files=(), tracking_uri="", **options):
    selection = selection or selected()
    arguments = {"findings": (FINDING, OPEN), "agreement": AGREEMENT} | options
    results = Results(selection, tuple(all_tables(selection)), **arguments)
    if figures:
        source = Source(selection.runs, history=lambda run_id, metric: [(1, 0.5)])
        drawn = PAPER.figures(dataclasses.replace(results, agreement=AGREEMENT), source)
        results = dataclasses.replace(results, figures=tuple(drawn))
    return page.render(PAPER, results, files=files, tracking_uri=tracking_uri)


def test_names_from_the_store_are_text_on_the_page(tmp_path):
    runs = store(ON_CPU)
    runs.loc[0, ["name", "status", "error"]] = [EVIL, "FAILED", f"{EVIL} & more"]
    runs.loc[1, ["name", "test_accuracy"]] = [EVIL, math.nan]
    runs.loc[2, "hardware_cpu"] = EVIL
    runs.loc[3, "gamma"] = EVIL
    runs.loc[4, ["model", "fingerprint"]] = [EVIL, EVIL]
    runs.loc[5, "run_id"] = f'"><a href="x">{EVIL}'
    report = summarize(
        runs,
        expected,
        dict.fromkeys(REASONS, EVIL),
        tmp_path,
        tracking_uri="http://server",
    )
    text = report.page.read_text()
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert '"><a href="x">' not in text
    for path in report.paths:
        if path.suffix in (".md", ".html"):
            assert EVIL not in path.read_text()


def test_texts_of_findings_and_notes_are_text_on_the_page():
    evil = Finding(
        **{
            name: EVIL if isinstance(getattr(FINDING, name), str) else getattr(FINDING, name)
            for name in FINDING.__dataclass_fields__
        }
    )
    text = rendered(
        findings=[evil],
        agreement=pd.DataFrame([agreement_row(description=EVIL, note=EVIL, agrees=EVIL)]),
        headlines=[Headline(EVIL, EVIL)],
    )
    assert EVIL not in text
    assert text.count("&lt;script&gt;alert(1)") >= 10


def test_page_says_what_was_run():
    runs = store(ON_CPU)
    runs.loc[0, "status"] = "FAILED"
    text = rendered(selected(runs), headlines=[Headline("Best on MNIST", "ResNet-18: 99%")])
    assert "155 of 160 cells" in text
    assert "a few hundred images" in text
    assert "Intel Xeon Platinum 8481C, 2 cores, 15.6 GB (155 runs)" in text
    assert "0123abc" in text
    assert "torch 2.9.1" in text
    assert "2026-03-01 08:01 UTC to" in text
    assert "not measured: no CUDA device" in text
    assert "<dt>Best on MNIST</dt><dd>ResNet-18: 99%</dd>" in text
    # Eleven tables, coverage, cells, findings, published numbers, those that disagree, runs.
    assert text.count("<caption") == 17


def test_other_presets_do_not_warn_of_small_runs():
    selection = select(store(expected("paper"), "paper"), expected, {}, "paper")
    assert "a few hundred images" not in rendered(selection)


def test_repeated_and_own_runs_are_told_on_the_page():
    runs = frame([row(QUICK[0]), row(QUICK[0], number=1), row(QUICK[1], number=2)])
    text = rendered(select(runs, expected, {}))
    assert "1 run repeated later" in text
    assert "2 of 160 cells" in text


def test_findings_are_told_with_effect_interval_and_n():
    text = rendered()
    assert "1 supported" in text
    assert "0 refuted" in text
    assert "1 undecidable" in text
    cells = re.search(r'<tr data-is="supported"[^>]*>(.*?)</tr>', text, re.S)[1]
    for part in ("1.47 <small>percentage points", "−0.30 to 1.64", "&lt; 0.0001", "1,920"):
        assert part in cells
    assert "<b>Would decide it:</b> a GPU" in text


def test_published_numbers_are_told_with_what_is_said_of_them():
    text = rendered()
    disagreeing, first, second = re.findall(r'<tr data-is="n.*?</tr>', text, re.S)
    assert disagreeing == first
    assert 'class="number difference differs"' in first
    for part in ("98.95", "98.50", "−0.45", "98.10 to 98.90", "a note"):
        assert part in first
    assert "341.6" in second
    assert "nan" not in (first + second).lower()


def section(text, anchor):
    return re.search(f'<section aria-labelledby="{anchor}">(.*?)</section>', text, re.S)[1]


def test_the_page_begins_with_the_answers():
    selection = select(store(expected("paper"), "paper"), expected, {}, "paper")
    text = rendered(selection)
    found = re.findall(r'<section aria-labelledby="([a-z]+)', text)
    assert found[:4] == ["answers", "findings", "published", "section"]
    assert found[-2:] == ["provenance", "cells"]
    answers = section(text, "answers")
    assert '<a href="#claim-2.8.1">ResNet-18 is more accurate</a>' in answers
    assert "1.47 percentage points (−0.30 to 1.64), p &lt; 0.0001" in answers
    assert "Not measured: needs a GPU" in answers
    assert "0 of the 1 published numbers that can be judged agree." in answers
    assert "0.80 points wide" in answers
    assert "Not the study" not in text


def test_runs_of_another_size_say_so_and_where_the_study_s_are():
    text = rendered()
    head = text[: text.index('id="answers"')]
    assert "Not the study&#39;s size" in head or "Not the study's size" in head
    assert "make report" in head
    assert "mnist-ops run all --preset paper" in head
    # Beside every verdict, in the answers and in the findings.
    assert text.count("<small>at another size</small>") == 4


def test_tables_have_results_in_one_column_and_leave_out_what_repeats():
    specs = [dataclasses.replace(spec, seed=seed) for spec in expected("paper") for seed in (0, 1)]
    runs = store(specs, "paper", lambda spec: {"test_accuracy": 0.98 + spec.seed / 100})
    text = rendered(select(runs, lambda preset: specs, {}, "paper"))
    sheet = re.search(r'<figure id="table-02">.*?</figure>', text, re.S)[0]
    assert "98.50 ± 0.71 (2)" in sheet
    assert "best on test" not in sheet
    assert "In all rows: Epochs 5." in sheet
    # Rows with and without pinned memory, of which the study prints nothing.
    assert "False, True" in re.search(r'<figure id="table-04">.*?</figure>', text, re.S)[0]
    # The best by validation that is the best on test as well.
    best = re.search(r'<figure id="table-11">.*?</figure>', text, re.S)[0]
    assert best.count(", test (the study&#39;s way)") == 2 * best.count("<tr data-name") == 8


def test_colours_say_whether_numbers_agree():
    runs = store(expected("paper"), "paper", lambda spec: {"test_accuracy": 0.99})
    selection = select(runs, expected, {}, "paper")
    evidence = Evidence(selection, no_predictions, PAPER.sizes)
    compared = agreement(PAPER, evidence, all_tables(selection))
    sheet = re.search(
        r'<figure id="table-02">.*?</figure>', rendered(selection, agreement=compared), re.S
    )[0]
    cells = dict(re.findall(r'class="number difference (\w+)"[^>]*>([^<]*)<', sheet))
    assert set(cells) == {"agrees", "differs"}
    counts = compared[compared["table"] == 2]["agrees"].value_counts()
    assert sheet.count("difference differs") == counts["no"]
    assert sheet.count("difference agrees") == counts["yes"]


def test_parts_that_are_empty_are_left_out():
    text = rendered(findings=(), agreement=pd.DataFrame())
    for anchor in ("#findings", "#published"):
        assert anchor not in text
    assert "plotly.min.js</code>" not in text
    assert 'class="drawing"' not in text


def test_ids_are_unique_and_links_within_the_page_lead_somewhere():
    elements = Elements(rendered(figures=True))
    assert len(elements.ids) == len(set(elements.ids))
    inside = [a["href"][1:] for a in elements.of("a") if a["href"].startswith("#")]
    assert set(inside) <= set(elements.ids)
    labelled = [a["aria-labelledby"] for _, a in elements.found if "aria-labelledby" in a]
    assert set(labelled) <= set(elements.ids)
    assert {tools["data-of"] for tools in elements.of("div") if "data-of" in tools} <= set(
        elements.ids
    )


def test_page_needs_nothing_from_elsewhere():
    text = rendered(figures=True, files={"figures/figure-01.svg"})
    assert PAPER.source in text
    # The study can be opened; nothing of the page is there.
    text = text.replace(f'<a href="{PAPER.address}">{PAPER.address}</a>', "")
    assert "http" not in text
    assert "//" not in "".join(
        a.get("src", "") + a.get("href", "") for _, a in Elements(text).found
    )


def test_figures_bring_their_data_and_a_picture_where_there_is_one():
    files = {"figures/figure-01.svg", "figures/figure-01.html", "figures/figure-03.png"}
    text = rendered(figures=True, files=files)
    elements = Elements(text)
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    drawings = [a for a in elements.of("div") if a.get("class") == "drawing"]
    # Without predictions there are no confusion matrices.
    assert len(scripts) == len(drawings) == 13
    for script, drawing in zip(scripts, drawings, strict=True):
        assert sorted(json.loads(script)) == ["data", "layout"]
        assert json.loads(drawing["data-room"]) == {"title": 48, "legend": 40}
    assert [a["src"] for a in elements.of("img")] == [
        "figures/figure-01.svg",
        "figures/figure-03.png",
    ]
    assert all(a["alt"] for a in elements.of("img"))
    links = {a["href"] for a in elements.of("a") if a["href"].startswith("figures/")}
    assert links == files
    assert text.count("needs JavaScript") == 11


def test_tables_sort_and_the_long_ones_filter():
    elements = Elements(rendered())
    tables = elements.of("table")
    assert sum("sorts" in table.get("class", "") for table in tables) == 16
    assert {a["data-of"] for a in elements.of("div") if "data-of" in a} == {
        "findings-table",
        "agreement-table",
        "runs-table",
        "not-finished-table",
    }


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("http://user:secret@host:5000/", "http://host:5000/#/experiments/1/runs/run00000"),
        ("https://host/mlflow?x=1", "https://host/mlflow/#/experiments/1/runs/run00000"),
        ("sqlite:////home/me/mlflow.db", None),
        ("", None),
    ],
)
def test_runs_are_links_where_the_store_is_a_server(uri, link):
    text = rendered(tracking_uri=uri)
    links = [a["href"] for a in Elements(text).of("a") if "/runs/" in a["href"]]
    assert len(links) == (156 if link else 0)
    assert link is None or link in links
    assert "secret" not in text
    assert "/home/me" not in text


def test_the_report_is_small_enough(tmp_path):
    report = summarize(store(ON_CPU), expected, REASONS, tmp_path)
    assert sum(path.stat().st_size for path in report.paths) < 10_000_000
