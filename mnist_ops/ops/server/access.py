"""Restrict access: permissions of files, and MLflow's authentication settings."""

import tempfile
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

from mnist_ops import tracking
from mnist_ops.core import atomic_files
from mnist_ops.ops.server.settings import ServerSettings

# Permission of users on the experiments of others: they may add runs, so that a team can share a
# grid, but not delete any.
DEFAULT_PERMISSION = "EDIT"
# Passwords are checked with a slow hash. Caching the result for a minute makes writing several
# times faster; a changed password still takes effect at once.
_AUTH_CACHE_S = 60


def restrict_access(settings: ServerSettings) -> None:
    """Remove other users' permissions on the files of the database of users, runs and artifacts."""
    stores = [auth_database(settings)]
    guarded = []
    if settings.auth:
        stores.append(settings.backend_store_uri)
        guarded.append(Path(settings.artifacts_destination))
    for path in (*filter(None, map(tracking.sqlite_path, stores)), *guarded):
        atomic_files.tighten(path)


@contextmanager
def auth_config(settings: ServerSettings) -> Iterator[Path | None]:
    """Write MLflow's file of authentication settings, readable by its owner only, for the block."""
    if not settings.auth:
        yield None
        return
    # Without interpolation, which would interpret a % in a password.
    config = ConfigParser(interpolation=None)
    config["mlflow"] = _escaped(
        {
            "default_permission": DEFAULT_PERMISSION,
            "database_uri": auth_database(settings),
            "admin_username": "admin",
            "admin_password": settings.admin_password or "",
            "authorization_function": "mnist_ops.ops.server.auth:authenticate",
            "auth_cache_ttl_seconds": str(_AUTH_CACHE_S),
        }
    )
    # mkdtemp() makes a folder that only its owner can enter.
    with tempfile.TemporaryDirectory(prefix="mnist-ops-server-") as folder:
        path = Path(folder, "basic_auth.ini")
        with path.open("w", encoding="utf-8") as file:
            config.write(file)
        yield path


def _escaped(values: Mapping[str, str]) -> dict[str, str]:
    """Escape values for MLflow's parser, which interpolates."""
    return {name: value.replace("%", "%%") for name, value in values.items()}


def auth_database(settings: ServerSettings) -> str:
    """Return the URI of the database of users."""
    if settings.auth_database_uri:
        return settings.auth_database_uri
    backend = settings.backend_store_uri
    # SQLite allows one writer at a time; a file of its own keeps sign-ins from waiting for runs.
    path = tracking.sqlite_path(backend)
    return backend if path is None else tracking.sqlite_uri(path.with_name("basic_auth.db"))
