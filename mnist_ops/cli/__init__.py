"""The command line: thin, over the library, a file a command. Torch and mlflow load in commands."""

import click

from mnist_ops import __version__
from mnist_ops.cli.champion import champion
from mnist_ops.cli.data import data
from mnist_ops.cli.doctor import doctor
from mnist_ops.cli.export import export
from mnist_ops.cli.group import Commands
from mnist_ops.cli.import_runs import import_runs
from mnist_ops.cli.predict import predict
from mnist_ops.cli.run import run
from mnist_ops.cli.server import server
from mnist_ops.cli.status import status
from mnist_ops.cli.summarize import summarize
from mnist_ops.cli.sync import sync
from mnist_ops.cli.verify import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mnist-ops")
@click.option("--debug", is_flag=True, help="Print the traceback of an unforeseen error.")
def main(debug: bool) -> None:
    """Rerun a published MNIST / FashionMNIST study, tracked in MLflow.

    Runs go to MLflow's own default store (mlflow.db and mlruns/ in this folder) unless
    MLFLOW_TRACKING_URI says otherwise.
    """


for command in (
    champion,
    data,
    doctor,
    export,
    import_runs,
    predict,
    run,
    server,
    status,
    summarize,
    sync,
    verify,
):
    main.add_command(command)
