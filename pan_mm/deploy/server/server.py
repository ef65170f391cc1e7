"""Run the server: its socket, its signals, its end."""

import asyncio
import signal
import socket

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

DRAIN_SECONDS = 4  # for the requests in progress when the server is stopped
HEADER_SECONDS = 10.0  # for the first request of a connection
CONNECTIONS = 400  # each may hold a file; 1,024 descriptors are usual
READ_SIZE = 2**12  # bytes; in chunks of one byte they keep the event loop busy for 20 ms


def run_server(app: Starlette, host: str, port: int) -> None:
    """Serve until SIGTERM, SIGINT, SIGHUP or SIGQUIT.

    Then no connection is accepted, and requests in progress have four seconds to be answered.
    Port 0 takes a free one; the address is printed.
    """
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop='asyncio',  # uvloop's transports have no max_size
        ws='none',
        lifespan='on',
        log_level='warning',
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        h11_max_incomplete_event_size=16 * 2**10,
    )
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=512) as listener:
        name = f'[{host}]' if ':' in host else host
        print(f'http://{name}:{listener.getsockname()[1]}/', flush=True)
        server = uvicorn.Server(config)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, server.handle_exit)
        server.run(sockets=[listener])


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which closes what sends no request; slow bodies are for a proxy."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, for some seconds if no request comes."""
        super().connection_made(transport)
        transport.max_size = READ_SIZE  # type: ignore[attr-defined]  # asyncio's is 64 times this
        self.loop.call_later(HEADER_SECONDS, self._close_unused)

    def _close_unused(self):
        if self.cycle is None:
            self.transport.abort()


def own_names(host: str) -> list:
    """List what visitors may call a server that listens at ``host``."""
    names = {'localhost', '127.0.0.1', '[::1]', f'[{host}]' if ':' in host else host}
    if host in ('0.0.0.0', '::'):
        names.add(socket.gethostname())
    return sorted(names - {'0.0.0.0', '[::]'})
