"""``python -m mnist_ops``: the command line, also where the package is not installed."""

from mnist_ops.cli import main

if __name__ == "__main__":
    main(prog_name="mnist-ops")
