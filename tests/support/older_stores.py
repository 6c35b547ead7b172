"""Stores as an earlier MLflow would have made them, or one that was cut while it made them."""

from pathlib import Path

import mlflow
import sqlalchemy
from alembic import command
from alembic.config import Config
from mlflow.store.tracking.dbmodels.initial_models import Base

MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations"


def make(uri: str, *, revision: str | None = None, tables: int | None = None) -> None:
    """Make a store of the first tables.

    Args:
        uri: of a database without tables.
        revision: the last migration that it has had; None for none.
        tables: how many of the first tables it has; None for all.
    """
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine, tables=Base.metadata.sorted_tables[:tables])
    if revision:
        config = Config(str(MIGRATIONS / "alembic.ini"))
        config.set_main_option("script_location", str(MIGRATIONS))
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    engine.dispose()
