"""The documents: paths, links and commands in them exist, and quick commands work as they stand."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from mnist_ops.cli import COMMANDS, main
from mnist_ops.study import lookup

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
DOCUMENTS += [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = ["Makefile", ".ci/run", "mkdocs.yml", "conda.yaml", "pyproject.toml", "Containerfile"]
PATH = re.compile(r"(?<![\w/.-])(?:mnist_ops|pipelines|tests|docs|\.ci|mlruns)/[\w./-]*[\w/]")
LINK = re.compile(r'(?:\]\(|src=")(?!https?:)([^)#"]*)(#[^)"]+)?')
TARGET = re.compile(r"(?:`|\$ )make ([a-z][\w-]*)")
COMMAND = re.compile(r"(?:`|\$ )mnist-ops (\w+)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
# Commands that need no runs and take no time; a `run` is shown as a dry run.
QUICK = ("status", "doctor", "sync")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(text_of(name)) if found == language]


def shell_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the documents: its document, and its words."""
    for name in DOCUMENTS:
        for block in blocks(name, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ "):
                    words = shlex.split(line[2:], comments=True)
                    ends = [n for n, word in enumerate(words) if word in (">", "|")]
                    yield name, words[: ends[0] if ends else None]


OURS = [(name, words[1:]) for name, words in shell_commands() if words[0] == "mnist-ops"]


@pytest.mark.parametrize("name", [*DOCUMENTS, *SCRIPTS])
def test_paths_exist(name: str) -> None:
    # Where a wheel has `pipelines`.
    text = text_of(name).replace("mnist_ops/pipelines", "pipelines")
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_make_targets_and_commands_exist(name: str) -> None:
    text = text_of(name)
    for link, anchor in LINK.findall(text):
        target = (ROOT / name).parent / link if link else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor[1:] in anchors(target), anchor
    targets = re.findall(r"^([\w-]+):", text_of("Makefile"), re.M)
    assert set(TARGET.findall(text)) <= set(targets)
    assert set(COMMAND.findall(text)) <= set(COMMANDS)


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub and the site give to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("name", "words"), OURS, ids=lambda part: " ".join(part)[:60])
def test_commands_have_the_options_that_they_are_shown_with(name: str, words: list[str]) -> None:
    command = main.get_command(click.Context(main), words[0])
    assert command is not None
    command.make_parser(click.Context(command)).parse_args(list(words[1:]))


def test_mlflow_commands_have_entry_points_and_parameters() -> None:
    entry_points = yaml.safe_load(text_of("MLproject"))["entry_points"]
    shown = [words for _, words in shell_commands() if words[:2] == ["mlflow", "run"]]
    assert shown
    for words in shown:
        entry = entry_points[words[words.index("-e") + 1]]
        named = [words[n + 1].partition("=")[0] for n, word in enumerate(words) if word == "-P"]
        assert set(named) <= entry.get("parameters", {}).keys()


@pytest.mark.parametrize(
    "words",
    [words for _, words in OURS if words[0] in ("run", *QUICK)],
    ids=lambda words: " ".join(words)[:60],
)
def test_quick_commands_work_as_they_stand(home: Path, words: list[str]) -> None:
    (study, *_) = blocks("docs/own-study.md", "python")
    (home / "my_study.py").write_text(study, encoding="utf-8")
    shown = [*words, "--dry-run"] if words[0] == "run" else words
    result = CliRunner().invoke(main, shown, catch_exceptions=False)
    # There is no grid to show and no run to judge, and the doctor may find problems with the
    # machine of this test.
    may_fail = words[0] in ("status", "doctor") or "--until-decided" in words
    assert result.exit_code <= may_fail, result.output
    assert "Traceback" not in result.output


def test_the_python_of_the_guide_is_as_it_says(tmp_path: Path) -> None:
    import torch

    from mnist_ops import api
    from mnist_ops.compare import generic

    study, data_sets, paper, script = blocks("docs/own-study.md", "python")
    file = tmp_path / "guide_study.py"
    file.write_text(study, encoding="utf-8")
    network = lookup.load(f"{file}:small_cnn")((3, 32, 32), 5, width=8)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    names: dict[str, Any] = {}
    exec(data_sets, names)
    assert names["SCANS"].name == "scans"
    assert {name for name in re.findall(r"api\.(\w+)", script) if not hasattr(api, name)} == set()
    (numbers,) = blocks("docs/own-study.md", "csv")
    (tmp_path / "published.csv").write_text(numbers, encoding="utf-8")
    rerun = study.replace("    title=", "    paper=PAPER,\n    title=")
    file.write_text(f"{paper}\n{rerun}", encoding="utf-8")
    told = generic.paper_of([lookup.load(f"{file}:STUDY")])
    assert len(told.published.numbers) == 3
    assert [len(section.claims) for section in told.claims] == [3]


def test_the_reference_of_commands_is_their_help() -> None:
    # Click keeps a command's help option as it was first asked for: a process of its own.
    script = ROOT / "tests" / "support" / "commands_page.py"
    page = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert text_of("docs/commands.md") == page.stdout, "run: make commands"


def test_every_page_of_the_guide_is_in_the_readme_and_the_site() -> None:
    readme, site = text_of("README.md"), text_of("mkdocs.yml")
    assert len(readme.splitlines()) <= 150
    for path in (ROOT / "docs").glob("*.md"):
        assert f"docs/{path.name}" in site, path
        if path.name != "export-format.md":
            assert f"docs/{path.name}" in readme, path
