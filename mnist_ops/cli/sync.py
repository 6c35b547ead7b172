"""``mnist-ops sync``: upload the runs that the store does not have yet."""

import json

import click

from mnist_ops.cli.options import answer, json_option, log
from mnist_ops.core.errors import TrackingUnavailable


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="How long to try.",
)
@json_option
def sync(timeout: float, as_json: bool) -> None:
    """Upload the runs that were computed on this machine while the store was away.

    Each arrives once, in order, with the times at which it happened. The next start of a grid does
    the same by itself.
    """
    from mnist_ops import tracking

    uri = tracking.default_uri()
    tracker = tracking.open_tracker(uri, log)
    try:
        with tracking.tracking_errors(uri):
            found = tracking.recover_stale_runs(tracker)
        tracker.uploader.flush(timeout, retry=True)
        left, last_error = tracker.uploader.waiting, tracker.uploader.last_error
    finally:
        tracking.close_tracker(tracker)
    if as_json:
        click.echo(json.dumps({"delivered": found - left, "left": left, "trouble": last_error}))
    else:
        answer(f"{found - left} runs uploaded, {left} left")
    if left:
        raise TrackingUnavailable(
            f"{left} runs are left in {tracker.journals}: "
            f"{last_error or 'another process computes their cells; try again when it has ended'}"
        )
