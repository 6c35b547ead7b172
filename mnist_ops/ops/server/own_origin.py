"""Restrict the tracking server to web pages of allowed origins; uvicorn imports this module.

MLflow itself allows pages of any port of this machine to write, such as those of a notebook.
"""

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

# Set by the server's own option, --cors-allowed-origins.
_ALLOWED = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"


# The base class depends on the installed packages.
class OwnOriginProtocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """uvicorn's protocol, with a check of the origin before the application."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        allowed = os.environ.get(_ALLOWED, "").split(",")
        self.app: ASGI3Application = _OwnOrigin(self.app, allowed)


class _OwnOrigin:
    """Denies requests from pages of other origins; programs send no origin, and are allowed."""

    def __init__(self, app: "ASGI3Application", allowed: Sequence[str]):
        self._app = app
        self._allowed = allowed

    async def __call__(
        self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable"
    ) -> None:
        headers = scope["headers"] if scope["type"] != "lifespan" else ()
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if all(any(fnmatch(origin, each) for each in self._allowed) for origin in origins):
            await self._app(scope, receive, send)
            return
        plain = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 403, "headers": plain})
        message = b"Pages of this origin are not among --cors-allowed-origins"
        await send({"type": "http.response.body", "body": message})
