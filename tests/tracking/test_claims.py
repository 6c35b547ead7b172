"""Claims: of several processes one has a cell, and a dead one has none."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import mlflow
import psutil
import pytest
from mlflow import MlflowClient

from mnist_ops.core.errors import TrackingUnavailable
from mnist_ops.tracking import claims
from mnist_ops.tracking.claims import Claims
from mnist_ops.tracking.process_id import HEARTBEAT_TIMEOUT_S, ProcessId

ELSEWHERE = ProcessId("another-host/0123abcd/42", 7, 1_700_000_000.0)


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def owner_of(process: subprocess.Popen[bytes]) -> ProcessId:
    started = psutil.Process(process.pid).create_time()
    return ProcessId(ProcessId.this_process().place, process.pid, round(started, 2))


def test_one_living_process_holds_a_cell(
    client: MlflowClient, store: str, other_process: subprocess.Popen[bytes]
) -> None:
    theirs = Claims(client, store, owner_of(other_process))
    ours = Claims(client, store)
    assert theirs.claim(["a", "b"]) == {"a", "b"}
    assert ours.claim(["a", "b", "c"]) == {"c"}
    theirs.release(["a"])
    assert ours.claim(["a", "b"]) == {"a"}
    assert ours.entries().holder("b") == owner_of(other_process)
    other_process.kill()
    deadline = time.monotonic() + 10
    while psutil.Process(other_process.pid).status() != "zombie" and time.monotonic() < deadline:
        time.sleep(0.01)
    # Dead, though its parent, this process, has not asked how it ended.
    assert ours.entries().holder("b") is None
    other_process.wait()
    assert ours.entries().holder("b") is None
    assert ours.claim(["b"]) == {"b"}
    for each in (theirs, ours):
        each.close()


def test_a_claim_is_kept_when_asked_again(client: MlflowClient, store: str) -> None:
    ours = Claims(client, store)
    assert ours.claim(["a"]) == ours.claim(["a"]) == {"a"}
    assert ours.confirm("a")
    assert not ours.confirm("never claimed")
    ours.close()
    assert Claims(client, store).entries().holder("a") is None


def test_process_of_another_machine_lives_by_its_signs(
    client: MlflowClient, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Claims(client, store, ELSEWHERE)
    assert theirs.claim(["a"]) == {"a"}
    ours = Claims(client, store)
    assert ours.claim(["a"]) == set()
    theirs.stop_heartbeat()
    long_ago = time.time() - 2 * HEARTBEAT_TIMEOUT_S
    client.set_tag(store, claims.heartbeat_key(ELSEWHERE), f"{long_ago:.0f} {ELSEWHERE}")
    assert ours.claim(["a"]) == {"a"}
    # The one that was taken for dead finds out before it gives a result.
    assert theirs.confirm("a")
    monkeypatch.setattr(claims, "HEARTBEAT_TIMEOUT_S", 0)
    assert not theirs.confirm("a")
    ours.close()


def test_takers_at_once_share_nothing_out_twice(client: MlflowClient, store: str) -> None:
    cells = [f"cell{i}" for i in range(30)]
    won: dict[int, set[str]] = {}
    start = threading.Barrier(6)

    def take(number: int) -> None:
        mine = Claims(client, store, ProcessId("another-host/0123abcd/42", number, 1.0))
        start.wait()
        won[number] = mine.claim(cells[number:] + cells[:number])
        mine.stop_heartbeat()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [cell for cells_won in won.values() for cell in cells_won]
    assert sorted(taken) == sorted(cells)


def test_a_store_has_one_ledger(client: MlflowClient) -> None:
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(claims.find(client))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert len(set(found)) == 1
    # It holds no result, and is nobody's open run.
    assert client.get_run(str(found[0])).info.status == "FINISHED"


def test_looking_makes_no_ledger(client: MlflowClient) -> None:
    assert claims.find(client, create=False) is None
    assert client.get_experiment_by_name(claims.EXPERIMENT) is None


def test_a_deleted_ledger_is_one_line(client: MlflowClient, store: str) -> None:
    client.delete_run(store)
    with pytest.raises(TrackingUnavailable, match="mlflow runs restore"):
        Claims(client, store).claim(["a"])


def test_the_ledger_is_not_among_the_experiments(client: MlflowClient, store: str) -> None:
    Claims(client, store).claim(["a", "b"])
    assert [each.name for each in client.search_experiments()] == ["Default"]
    assert mlflow.search_runs(search_all_experiments=True).empty


def test_the_ledger_of_an_older_version_is_hidden_when_nobody_writes(
    client: MlflowClient, store: str
) -> None:
    experiment = client.get_run(store).info.experiment_id
    mine = Claims(client, store)
    mine.claim(["a"])
    client.restore_experiment(experiment)
    assert claims.find(client) == store
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    mine.close()
    assert claims.find(client) == store
    assert client.get_experiment(experiment).lifecycle_stage == "deleted"
    assert Claims(client, store).claim(["a"]) == {"a"}


def test_a_ledger_cut_while_it_was_hidden_is_restored(client: MlflowClient, store: str) -> None:
    client.delete_run(store)
    assert claims.find(client) == store
    assert Claims(client, store).claim(["a"]) == {"a"}


def test_a_copied_store_gets_a_ledger_of_its_own(client: MlflowClient, store: str) -> None:
    other = claims.renew(client)
    assert other != store
    assert claims.find(client) == other
    assert Claims(client, other).claim(["a"]) == {"a"}


@pytest.mark.slow
def test_gc_of_the_ledger_leaves_a_store_that_works(client: MlflowClient, store: str) -> None:
    uri = client.tracking_uri
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    new = claims.find(client)
    assert new not in (None, store)
    assert Claims(client, str(new)).claim(["a"]) == {"a"}


def test_signs_of_life_of_long_ago_are_forgotten(client: MlflowClient, store: str) -> None:
    key = claims.heartbeat_key(ELSEWHERE)
    client.set_tag(store, key, f"{time.time() - 10 * 86_400:.0f} {ELSEWHERE}")
    claims.drop_old_heartbeats(client, store)
    assert key not in client.get_run(store).data.tags


def test_owner_comes_back_from_its_text() -> None:
    me = ProcessId.this_process()
    assert ProcessId.parse(str(me)) == me
    assert me.is_alive(None)
    assert ProcessId.parse("-") is None
    assert ProcessId.parse("") is None
    assert not ProcessId(me.place, me.pid, me.started - 1000).is_alive(time.time())
