"""Paths, links and commands in the documents exist."""

import re
from pathlib import Path

import pytest

from mnist_ops.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
DOCUMENTS += [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]
SCRIPTS = ["Makefile", ".ci/run", "docs/mkdocs.yml", "conda.yaml", "pyproject.toml"]
PATH = re.compile(r"(?<![\w/.-])(?:mnist_ops|pipelines|tests|docs|\.ci|mlruns)/[\w./-]*[\w/]")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
TARGET = re.compile(r"`make ([\w-]+)")
COMMAND = re.compile(r"(?:`|\$ )mnist-ops (\w+)")


@pytest.mark.parametrize("name", [*DOCUMENTS, *SCRIPTS])
def test_paths_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_make_targets_and_commands_exist(name: str) -> None:
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (document.parent / link).exists()] == []
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(TARGET.findall(text)) <= set(targets)
    assert set(COMMAND.findall(text)) <= set(COMMANDS)
