"""The main script of this process, which processes that are spawned must not run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def main_not_imported() -> Iterator[None]:
    """Keep worker processes from importing the main script, which may have no ``__main__`` guard.

    They are sent nothing that is defined in it.
    """
    main = vars(sys.modules["__main__"])
    hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
    main.pop("__file__", None)
    main["__spec__"] = None
    try:
        yield
    finally:
        main |= hidden
