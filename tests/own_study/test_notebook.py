"""The notebook of the documents runs as it stands."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_notebook_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(ROOT / "docs" / "own-study.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=550, resources={"metadata": {"path": str(home)}}).execute()
    shown = {
        cell.source.partition("\n")[0]: [
            output.get("data", {}) | {"stream": output.get("text", "")} for output in cell.outputs
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    }
    ran = "".join(output["stream"] for output in shown["found = api.run(STUDY)"])
    assert "A small network on digits: 8 cells" in ran
    assert ran.count("small_cnn-digits-adam") == 8
    (frame,) = (outputs for source, outputs in shown.items() if source.startswith("found.frame[["))
    assert frame[0]["text/plain"].count("small_cnn-digits") == 8
    (means,) = (outputs for source, outputs in shown.items() if "groupby" in source)
    assert len(means[0]["text/plain"].splitlines()) == 2 + 4
    for plot in ("api.plot_effects(STUDY)", "api.plot_heat_map(STUDY)"):
        (figure,) = (each for each in shown[plot] if "application/vnd.plotly.v1+json" in each)
        assert figure["application/vnd.plotly.v1+json"]["data"]
    reported = shown['api.report(STUDY, "report")']
    assert any("report/index.html" in output.get("text/plain", "") for output in reported)
    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    assert "Does a wider network or dropout help?" in page
