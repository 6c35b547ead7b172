"""``mnist-ops init``: an example to begin one's own study with."""

from pathlib import Path

import click

from mnist_ops.cli.options import answer
from mnist_ops.core.errors import InvalidInput, NotWritable
from mnist_ops.study.model import check_name


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Write the file NAME.py, a commented example of a study that runs at once."""
    name = check_name("a study", name.removesuffix(".py"))
    path = Path(f"{name}.py")
    text = Path(__file__).with_name("example_study.py").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("NAME", name))
    except FileExistsError:
        raise InvalidInput(f"{path} is there already: give another name") from None
    except OSError as error:
        raise NotWritable(f"{path} cannot be written: {error.strerror}") from None
    answer(f"{path} is a study. Run it: mnist-ops run {path}")
