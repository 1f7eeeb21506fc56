"""Serves the page: a thread a scraper, all of them gone when the run is."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

SCRAPER_TIMEOUT_S: Final = 5.0
"""How long a scraper may take to say what it wants, and to take what it gets."""


class Server:
    """Serves a registry's page at `host` from when it is made until `close`.

    `port` 0 takes a free one; `port` is then the true one. Raises OSError when the address cannot be had.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._server = _Server(host, port)
        self._server.set_app(make_wsgi_app(registry))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="populace-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and wait for the threads."""
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Quiet(WSGIRequestHandler):
    timeout = SCRAPER_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread a scraper, each of them joined by `server_close`."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((host, port), _Quiet)

    def server_bind(self) -> None:
        """Bind without the look-up of the host's full name, which may ask a name server and wait for it."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close idle connections; a scrape that is being answered gets its page."""
        with self._lock:
            for request in self._open:
                try:
                    request.shutdown(socket.SHUT_RD)
                except OSError:  # it hung up first
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that says nothing or hangs up is no concern of the run; anything else is a bug and shows."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
