"""The files that figures become, and what happens where a browser cannot draw them."""

import dataclasses
import importlib
import json
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest
from compare_runs import select, store
from paper_figures import (
    ON_CPU,
    STEMS,
    chosen,
    figures_of,
    known,
)
from plotly import graph_objects as go
from requirements import unavailable

from mnist_ops.compare.figures.export import DRAWN, export, inline_json
from mnist_ops.compare.files import publish


def test_files_are_complete_and_the_same_each_time(figures):
    said = []
    files = export(figures, said.append, ("html", "json"))
    names = [f"figures/{stem}.{kind}" for stem in STEMS for kind in ("html", "json")]
    assert sorted(files) == sorted([*names, "figures/plotly.min.js"])
    assert all(files.values())
    assert said == []
    assert files == export(figures_of(chosen(change=known)), said.append, ("html", "json"))
    for name, content in files.items():
        if name.endswith(".json"):
            read = json.loads(content)
            assert sorted(read) == ["data", "layout"]
            assert "bdata" not in content.decode()
        elif name.endswith(".html"):
            text = content.decode()
            assert len(text) < 200_000
            assert text.count('src="plotly.min.js"') == 1
            assert "http" not in text


def test_texts_from_the_store_are_text_in_every_file():
    evil = "</script><script>alert(1)</script>"
    runs = store(ON_CPU, change=known)
    runs.loc[runs["study"] == "svm_grid", "kernel"] = evil
    selection = select(runs, lambda preset: [], {}, "quick")
    drawn = figures_of(selection)
    as_text = evil.replace("<", "&lt;")
    assert any(as_text in figure.json for figure in drawn)
    assert not any(evil in figure.json for figure in drawn)
    for name, content in export(drawn, print, ("html",)).items():
        if name.endswith(".html"):
            assert evil not in content.decode()
    for figure in drawn:
        assert "<" not in inline_json(figure)
        assert json.loads(inline_json(figure)) == json.loads(figure.json)


def test_no_figures_are_no_files():
    assert export([], print) == {}


def test_without_kaleido_the_rest_is_written(figures, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    said = []
    files = export(figures[:1], said.append)
    assert sorted(files) == [
        "figures/figure-01.html",
        "figures/figure-01.json",
        "figures/plotly.min.js",
    ]
    assert said == [
        "no SVG and PNG figures, as kaleido is not installed: "
        "install chromium, and `pip install kaleido`"
    ]


def test_without_a_browser_the_rest_is_written(figures, monkeypatch, tmp_path):
    pytest.importorskip("kaleido")
    from choreographer.browsers import chromium

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    # Nor where browsers are usually installed, nor one that kaleido has fetched.
    monkeypatch.setattr(chromium.Chromium, "find_browser", lambda **options: None)
    said = []
    files = export(figures[:1], said.append)
    assert not [name for name in files if name.endswith((".svg", ".png"))]
    assert said == [
        "no SVG and PNG figures, as no Chrome or Chromium is found: "
        "install chromium, and `pip install kaleido`"
    ]


def test_with_a_browser_that_breaks_the_rest_is_written(figures, monkeypatch):
    pytest.importorskip("kaleido")
    monkeypatch.setenv("BROWSER_PATH", "/bin/false")
    said = []
    files = export(figures[:1], said.append)
    assert len(files) == 3
    assert len(said) == 1
    assert "as the browser failed" in said[0]


# As it starts, and some seconds later: opening its tabs, or drawing.
@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0, 2, 4])
def test_a_browser_that_dies_is_replaced(figures, monkeypatch, after_s):
    module = importlib.import_module("mnist_ops.compare.figures.export")
    monkeypatch.setattr(module, "IMAGE_TIMEOUT_S", 20)
    before = set(psutil.Process().children(recursive=True))
    killed = []

    def browser() -> list[psutil.Process]:
        return [p for p in psutil.Process().children(recursive=True) if p not in before]

    def kill_it() -> None:
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            with suppress(psutil.NoSuchProcess):
                if any("--type=renderer" in " ".join(each.cmdline()) for each in browser()):
                    time.sleep(after_s)
                    for each in browser():
                        each.kill()
                        killed.append(each)
            time.sleep(0.1)

    killer = threading.Thread(target=kill_it)
    killer.start()
    said = []
    files = export(figures, said.append)
    killer.join()
    if said:
        unavailable(said[0])
    assert killed
    assert {f"figures/{stem}.png" for stem in STEMS} <= files.keys()


@pytest.mark.slow
def test_images_are_drawn(figures):
    said = []
    files = export(figures, said.append)
    if said:
        unavailable(said[0])
    for stem in STEMS:
        png, svg = files[f"figures/{stem}.png"], files[f"figures/{stem}.svg"]
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000
        assert svg.startswith(b"<svg")
        assert b"</svg>" in svg
    assert b">Test accuracy by configuration<" in files["figures/figure-01.svg"]
    again = export(figures[:1] + figures[-1:], said.append)
    del again[DRAWN]
    assert again == {name: files[name] for name in again}


@pytest.mark.slow
def test_only_images_that_changed_are_drawn_anew(figures, monkeypatch, tmp_path):
    said = []
    some = [figures[0], figures[-1]]
    files = export(some, said.append)
    if said:
        unavailable(said[0])
    publish(files, tmp_path)
    changed = dataclasses.replace(figures[0], drawing=go.Figure(figures[0].drawing))
    changed.drawing.update_layout(title_text="Another title")
    damaged = tmp_path / "figures" / f"{figures[-1].stem}.png"
    with monkeypatch.context() as without_browser:
        without_browser.setenv("BROWSER_PATH", "/bin/false")
        assert export(some, said.append, before=tmp_path) == files
        assert said == []
        damaged.write_bytes(damaged.read_bytes()[:-1])
        kept = export([changed, figures[-1]], said.append, before=tmp_path)
    assert [name for name in kept if name.endswith((".svg", ".png"))] == [
        f"figures/{figures[-1].stem}.svg"
    ]
    assert len(said) == 1
    drawn = export([changed, figures[-1]], said.append, before=tmp_path)
    assert b">Another title<" in drawn["figures/figure-01.svg"]
    assert drawn[f"figures/{damaged.name}"] == files[f"figures/{damaged.name}"]
    (tmp_path / DRAWN).write_text("[]")
    assert export(some, said.append, before=tmp_path) == files
