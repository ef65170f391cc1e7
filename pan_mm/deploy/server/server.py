"""The server's process: its socket, its temporary files, its end."""

import atexit
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Optional

import uvicorn

from .analysis import VideoAnalyzer
from .http import Access, create_app
from .protocol import bounded

DRAIN = 5.0  # seconds for the requests under way when the server is told to end
END = 9.5  # seconds after which it ends with what is left
SPARE = 128  # descriptors for files, decoders and libraries


def run_server(
    analyzer: VideoAnalyzer,
    title: str,
    host: str,
    port: int,
    host_names: tuple = (),
    token: Optional[str] = None,
    proxy: Optional[str] = None,
) -> None:
    """Serve page and API until the process is told to end; then it ends with status 0.

    Videos are in one folder, which is removed at the end.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        title (str): What the page is called.
        host (str): Address to listen at.
        port (int): 0 takes a free one. The address is printed.
        host_names (tuple[str, ...]): Names that visitors may call it by, besides its address and
            those of this machine's loopback.
        token (str, optional): What a client of the API must show.
        proxy (str, optional): Address of a reverse proxy that tells who the clients are.

    Raises:
        OSError: If the address cannot be listened at.
    """
    limits = analyzer.limits
    with tempfile.TemporaryDirectory(prefix='pan_mm-serve-') as folder:
        # The default SIGTERM action would leave the folder behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        access = Access([*_own_names(host), *host_names], token)
        app = create_app(analyzer, Path(folder), title, access)
        protocol = bounded(limits.per_client, proxy, limits.timeout)
        app.state.metrics.refused = protocol.refused
        config = uvicorn.Config(
            app,
            http=protocol,
            ws='none',
            log_level='warning',
            server_header=False,
            proxy_headers=proxy is not None,
            forwarded_allow_ips=proxy,
            limit_concurrency=_connections(limits.connections),
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16 * 2**10,
        )
        analyzer.decoder.wait()
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        address = f'[{host}]' if ':' in host else host
        print(f'http://{address}:{listener.getsockname()[1]}/', flush=True)
        with listener:
            DrainingServer(config, app.state, folder).run(sockets=[listener])
    # Nothing is left to do, and PyTorch takes seconds to exit.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)


class DrainingServer(uvicorn.Server):
    """uvicorn's, which when it is told to end first answers what is under way.

    Meanwhile new requests get 503. A second Ctrl-C ends it at once.
    """

    def __init__(self, config: uvicorn.Config, state, folder: str) -> None:
        super().__init__(config)
        self._life, self._metrics = state.life, state.metrics
        self._folder = folder
        self._told = 0.0

    def handle_exit(self, sig: int, frame) -> None:
        """Begin to end."""
        if self._told:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        self._told = time.monotonic()
        self._life.is_draining = True
        last = threading.Timer(END, self._leave)
        last.daemon = True
        last.start()

    async def on_tick(self, counter: int) -> bool:
        """End once all is answered, or the time for it is over."""
        if self._told and not self._life.is_over:
            if not self._metrics.bodies:
                self.should_exit = True
            elif time.monotonic() > self._told + DRAIN:
                self._life.end()  # 503 for all that remain
        elif self._told and (not self._metrics.bodies or time.monotonic() > self._told + END - 1.5):
            self.should_exit = True  # uvicorn takes another second
        return await super().on_tick(counter)

    def _leave(self):
        """End although something cannot be ended."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(0)


def _own_names(host):
    """What visitors may call a server that listens at ``host``."""
    names = {'localhost', '127.0.0.1', '[::1]', f'[{host}]' if ':' in host else host}
    if host in ('0.0.0.0', '::'):
        names.add(socket.gethostname())
    return sorted(names - {'0.0.0.0', '[::]'})


def _connections(wanted):
    """As many as there are descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < 2 * SPARE:
        raise ValueError(f'{soft} open files are too few for a server; raise them with ulimit -n')
    return min(wanted, (soft - SPARE) // 2)  # a request may also hold a file
