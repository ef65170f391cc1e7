"""Run the server: its socket, its signals, its end."""

import asyncio
import resource
import signal
import socket
import time
from typing import Optional

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .analysis import VideoAnalyzer
from .app import Access, create_app
from .cameras import Cameras
from .middleware import State

DRAIN_SECONDS = 5.0  # for the requests under way when the server is told to end
END_SECONDS = 8.0  # after which it ends with what is left
HEADER_SECONDS = 10.0  # for the first request of a connection
CONNECTIONS = 512
READ_SIZE = 2**14  # bytes; in chunks of one byte they keep the event loop busy for 0.1 s
SPARE_FILES = 128  # descriptors for files, decoders and libraries


def run_server(
    analyzer: VideoAnalyzer,
    title: str,
    host: str,
    port: int,
    host_names: tuple = (),
    token: Optional[str] = None,
) -> None:
    """Serve page and API until the process is told to end.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        title (str): What the page is called.
        host (str): Address to listen at.
        port (int): 0 takes a free one. The address is printed.
        host_names (tuple[str, ...]): Names that visitors may call it by, besides its address and
            those of this machine's loopback.
        token (str, optional): What a client of the API must show.

    Raises:
        OSError: If the address cannot be listened at.
        ValueError: If the process may open too few files.
    """
    access = Access([*_own_names(host), *host_names], token)
    app = create_app(analyzer, Cameras(analyzer), title, access)
    config = uvicorn.Config(
        app,
        http=ClosingProtocol,
        ws='none',
        log_level='warning',
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_connections(),
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16 * 2**10,
    )
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=512) as listener:
        analyzer.decoder.wait()
        address = f'[{host}]' if ':' in host else host
        print(f'http://{address}:{listener.getsockname()[1]}/', flush=True)
        DrainingServer(config, app.state.requests).run(sockets=[listener])


class DrainingServer(uvicorn.Server):
    """uvicorn's, which when it is told to end first answers what is under way.

    Meanwhile new requests get 503. A second signal ends it at once.

    Args:
        config (uvicorn.Config): What and how it serves.
        state (State): Requests under way.
    """

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state
        self._told = 0.0
        for name in ('SIGHUP', 'SIGQUIT'):  # a closed terminal, Ctrl-\\
            signal.signal(getattr(signal, name), self.handle_exit)

    def handle_exit(self, sig: int, frame) -> None:
        """Begin to end."""
        if self._state.is_draining:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
        self._state.is_draining = True
        self._told = self._told or time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """End once all is answered, or the time for it is over."""
        if self._state.is_draining:
            waited = time.monotonic() - self._told
            if waited > DRAIN_SECONDS:
                self._state.cancel()
            if not self._state.running or waited > END_SECONDS:
                self.should_exit = True
        return await super().on_tick(counter)


class ClosingProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which closes what is not HTTP or sends no request.

    Slow clients beyond that are for a reverse proxy.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, for some seconds if no request comes."""
        super().connection_made(transport)
        transport.max_size = READ_SIZE  # type: ignore[attr-defined]  # asyncio's is 16 times this
        self.loop.call_later(HEADER_SECONDS, self._close_unused)

    def _close_unused(self):
        if self.cycle is None:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, instead of whatever answers the request that it is part of."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer had begun
            self.transport.close()


def _own_names(host):
    """List what visitors may call a server that listens at ``host``."""
    names = {'localhost', '127.0.0.1', '[::1]', f'[{host}]' if ':' in host else host}
    if host in ('0.0.0.0', '::'):
        names.add(socket.gethostname())
    return sorted(names - {'0.0.0.0', '[::]'})


def _connections():
    """Count the connections for which there are descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    if soft < 2 * SPARE_FILES:
        raise ValueError(f'{soft} open files are too few for a server; raise them with ulimit -n')
    return min(CONNECTIONS, (soft - SPARE_FILES) // 2)  # a request may also hold a file
