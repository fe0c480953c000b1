"""A small HTTP server for one page and its digest, reachable from this machine only."""

from __future__ import annotations

import errno
import os
import re
import socketserver
import sys
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.contract.errors import HarnessError, UsageError
from harness_results.serving.page import waiting
from harness_results.serving.watched import Watched
from harness_results.text.format import one_line

ADDRESS = "127.0.0.1"
# Any port, because it may be forwarded.
HOSTS = re.compile(r"(?:localhost|127\.0\.0\.1)(?::\d{1,5})?", re.IGNORECASE)
SECONDS = 10  # that a client may take for its request
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEXT, HTML = "text/plain; charset=utf-8", "text/html; charset=utf-8"


class Server(ThreadingHTTPServer):
    """Serves a watched page on a loopback address.

    Raises:
        UsageError: the port is in use or may not be used.
    """

    allow_reuse_address = os.name == "posix"
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def __init__(self, watched: Watched, port: int) -> None:
        self.watched = watched
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            problem = f"cannot be used ({error.strerror})"
            if error.errno == errno.EADDRINUSE:
                problem = "is in use"
            raise UsageError(
                f"port {port} of {ADDRESS} {problem}: choose another --port, or leave it out"
            ) from error

    def server_bind(self) -> None:
        """Bind without a name server's answer to this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def serve_until_interrupted(self) -> None:
        """Answer requests until Ctrl-C."""
        with suppress(KeyboardInterrupt):
            self.serve_forever()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except those of clients that went away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS
    error_content_type, error_message_format = TEXT, "%(code)d %(message)s\n"

    def do_GET(self) -> None:
        """Answer with headers and a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with headers only."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, kind, body = self._response()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _response(self) -> tuple[HTTPStatus, str, bytes]:
        hosts = self.headers.get_all("Host") or [""]
        # A foreign name may have been made to resolve to this machine (DNS rebinding).
        if len(hosts) != 1 or not HOSTS.fullmatch(hosts[0]):
            return HTTPStatus.FORBIDDEN, TEXT, b"only as localhost or 127.0.0.1\n"
        try:
            if self.path == "/":
                return HTTPStatus.OK, HTML, self.server.watched.page()
            if self.path == "/digest":
                return HTTPStatus.OK, TEXT, self.server.watched.digest().encode()
        except HarnessError as error:
            return self._problem(HTTPStatus.SERVICE_UNAVAILABLE, one_line(error))
        except Exception as error:  # noqa: BLE001 (a reader gets an answer whatever broke)
            self.server.handle_error(self.request, self.client_address)
            problem = (
                f"internal error: {type(error).__name__}; "
                "the terminal of `harness report --serve` says more"
            )
            return self._problem(HTTPStatus.INTERNAL_SERVER_ERROR, problem)
        return HTTPStatus.NOT_FOUND, TEXT, b"there is only /\n"

    def _problem(self, status: HTTPStatus, text: str) -> tuple[HTTPStatus, str, bytes]:
        """Return the problem as text, or as a page that reloads if the page was requested."""
        if self.path == "/":
            page = waiting("The report cannot be shown", text)
            return status, HTML, page.encode("utf-8", "backslashreplace")
        return status, TEXT, f"{text}\n".encode()

    def end_headers(self) -> None:
        """Add the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        """Return the name of the program without any version."""
        return "harness"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Say nothing."""
