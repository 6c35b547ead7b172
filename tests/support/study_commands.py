"""The commands on a study of a user's own, and which of its cells are few."""

from click.testing import CliRunner, Result

from mnist_ops.cli import main

ONE = ["--set", "width=4", "--set", "dropout=0.5", "--set", "weight_decay=0.01", "--seeds", "0"]
ONE += ["--set", "epochs=1"]
IN_PROCESS = ["--workers", "0", "--device", "cpu"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def good(*arguments: str) -> Result:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("mnist-ops: ")]
    return line
