"""Command line of the package: a file a command, each imported when it is called."""

import click

from mnist_ops import __version__
from mnist_ops.cli.group import Commands

# Command -> what the list of commands says of it; a test holds it against the command's own help.
COMMANDS = {
    "champion": "Fit the best runs again, register their models, and name the champions.",
    "data": "Fetch and verify the data sets, and show state, path, digest and source.",
    "doctor": "Check everything that a grid rests on; show each problem and its fix.",
    "export": "Write the finished runs into FILE, to import them into another store.",
    "import": "Write the runs of FILE, which `mnist-ops export` wrote, into the store.",
    "init": "Write the file NAME.py, a commented example of a study that runs at once.",
    "predict": "Classify IMAGES, of any size and colours, with a registered model.",
    "run": "Run the cells of STUDY that are not finished yet, each as an MLflow run.",
    "server": "Serve runs to a team: MLflow with one worker, by default on this machine only.",
    "status": "Show how far the running grids are, or those of the last command.",
    "summarize": "Rebuild tables, figures and findings from the tracked runs alone.",
    "sync": "Upload the runs that were computed on this machine while the store was away.",
    "verify": "Compute finished cells again, and compare with what their runs logged.",
}


@click.group(
    cls=Commands, summaries=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="mnist-ops")
@click.option("--debug", is_flag=True, help="Print the traceback of an unforeseen error.")
def main(debug: bool) -> None:
    """Run experiments on image classifiers, a published study among them, tracked in MLflow.

    Runs go to MLflow's own default store (mlflow.db and mlruns/ in this folder) unless
    MLFLOW_TRACKING_URI says otherwise.
    """
