"""A proxy before a tracking server that misbehaves as proxies do, in ways that can be switched."""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Name -> status, type and body of the answer that the proxy gives in the server's place.
OWN_ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "200 with {}": (200, "application/json", b"{}"),
    "200 with other JSON": (200, "application/json", b'{"status": "maintenance", "run": [1]}'),
    "200 with a page": (200, "text/html", b"<html>sign in</html>"),
    "200 with nothing": (200, "application/json", b""),
    "404 with JSON": (404, "application/json", b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'),
    "404 with a page": (404, "text/html", b"<html>not here</html>"),
    "400 with JSON": (400, "application/json", b'{"error_code": "INVALID_PARAMETER_VALUE"}'),
    "403 with a page": (403, "text/html", b"<html>forbidden</html>"),
    "500": (500, "text/plain", b"oops"),
}
# Those in which the server is asked, and its answer spoilt.
SPOILT = ("cut", "lost", "old", "slow")
KINDS = (*OWN_ANSWERS, *SPOILT)


class BadProxy:
    """Passes requests on to a server, or misbehaves.

    Attributes:
        uri: where it listens.
        kind: one of `KINDS`, from the next request on; None passes everything on as it is.
        requests: how many requests came while it misbehaved.
    """

    def __init__(self, uri: str):
        """Listen on a free port of the loopback device, before the server at `uri`."""
        self.kind: str | None = None
        self.requests = 0
        self._target = urlsplit(uri)
        self._old: tuple[int, str, bytes] = OWN_ANSWERS["200 with {}"]
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def answer(self) -> None:
                proxy.answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer `request` as the server behind would, or as `kind` says."""
        kind = self.kind
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.requests += kind is not None
        if kind in OWN_ANSWERS:
            self._send(request, *OWN_ANSWERS[kind])
            return
        if kind == "slow":
            time.sleep(1)
        answer = self._ask(request, body)
        if kind == "old":
            answer, self._old = self._old, answer
        if kind == "lost":
            request.connection.close()
            return
        self._send(request, *answer, cut=kind == "cut")

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        server = http.client.HTTPConnection(str(self._target.hostname), self._target.port)
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        headers["Host"] = self._target.netloc
        try:
            server.request(request.command, request.path, body, headers)
            answer = server.getresponse()
            kind = answer.getheader("Content-Type", "application/octet-stream")
            return answer.status, kind, answer.read()
        except OSError:
            return 502, "application/json", json.dumps({"error_code": "BAD_GATEWAY"}).encode()
        finally:
            server.close()

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes, *, cut: bool = False
    ) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            request.connection.close()
