"""Compare a run in the store with its journal, before the journal is deleted.

A response ``200`` does not prove a write, as it may be that of a proxy. Only what is read back
counts as stored.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from mlflow import MlflowClient

from mnist_ops.core import keys
from mnist_ops.tracking.events import Event


def missing(client: MlflowClient, run_id: str, events: Sequence[Event]) -> str | None:
    """Return what the store lacks of a run that has ended; None if it has everything.

    Args:
        client: of the store.
        run_id: of the run.
        events: of its journal, which were all sent.
    """
    run = client.get_run(run_id)
    ended = next(event for event in reversed(events) if event["kind"] == "end")
    if run.info.status != ended["status"]:
        return f"the status {ended['status']}"
    params, tags = _params_and_tags(events)
    # A store may shorten long values.
    for what, sent, stored in (("param", params, run.data.params), ("tag", tags, run.data.tags)):
        for name, value in sent.items():
            if name not in stored or not value.startswith(stored[name].removesuffix("...")):
                return f"{what} {name}"
    for name, points in _metrics(events).items():
        if not _has_points(client, run_id, name, points, run.data.metrics):
            return f"metric {name}"
    if files := {event["file"] for event in events if event["kind"] == "artifact"}:
        for name in sorted(files - {found.path for found in client.list_artifacts(run_id)}):
            return f"artifact {name}"
    return None


def _params_and_tags(events: Sequence[Event]) -> tuple[dict[str, str], dict[str, str]]:
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    for event in events:
        match event["kind"]:
            case "open":
                params |= event["params"]
                tags |= event["tags"]
            case "resume":
                tags.pop(keys.ERROR, None)
                tags |= event["tags"]
            case "params":
                params |= event["values"]
            case "tags":
                tags |= event["values"]
    # Users may have changed other tags meanwhile.
    return params, {name: text for name, text in tags.items() if name.startswith("mnist_ops.")}


def _metrics(events: Sequence[Event]) -> dict[str, dict[int, float]]:
    """Metric -> step -> value."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for event in events:
        if event["kind"] == "metrics":
            for name, value in event["values"].items():
                found[name][event["step"]] = value
    return found


def _has_points(
    client: MlflowClient, run_id: str, name: str, points: dict[int, float], last: dict[str, float]
) -> bool:
    if len(points) == 1:
        return name in last and all(_same(last[name], value) for value in points.values())
    stored = {point.step: point.value for point in client.get_metric_history(run_id, name)}
    return all(step in stored and _same(stored[step], value) for step, value in points.items())


def _same(stored: float, sent: float) -> bool:
    # A store replaces infinity by its largest number.
    return stored == sent or not math.isfinite(sent)
