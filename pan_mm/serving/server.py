"""The server's process: its socket, its temporary files, its end."""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from .analysis import VideoAnalyzer

KEEP = 600.0  # seconds that an upload of the page stays


def run_server(analyzer: VideoAnalyzer, title: str, host: str, port: int) -> None:
    """Serve page and API until the process is told to end.

    All that is written goes into one folder, which is removed at the end.

    Args:
        analyzer (VideoAnalyzer): Does the work.
        title (str): What the page is called.
        host (str): Address to listen at.
        port (int): 0 takes a free one. The address is printed.

    Raises:
        ImportError: If a package of the extra ``demo`` is missing.
        OSError: If the address cannot be listened at.
    """
    with tempfile.TemporaryDirectory(prefix='pan_mm-serve-') as folder:
        uploads = Path(folder) / 'uploads'
        uploads.mkdir()
        # Gradio reads these when it is imported.
        os.environ.update(GRADIO_TEMP_DIR=str(uploads), GRADIO_ANALYTICS_ENABLED='False')
        import uvicorn

        from .http import create_api
        from .page import mount_page

        app = mount_page(create_api(analyzer, Path(folder)), analyzer, title, uploads)
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        threading.Thread(target=_sweep, args=(uploads,), daemon=True).start()
        # uvicorn raises the signal again when it has ended; the folder must still be removed.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        address = f'[{host}]' if ':' in host else host
        print(f'http://{address}:{listener.getsockname()[1]}/', flush=True)
        config = uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=5)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            pass
        finally:
            listener.close()


def _sweep(folder: Path, keep: float = KEEP, every: float = 30.0) -> None:
    """Remove old uploads, time and again."""
    while True:
        remove_older(folder, keep)
        time.sleep(every)


def remove_older(folder: Path, keep: float) -> None:
    """Remove files that were written more than ``keep`` seconds ago, and empty folders."""
    for path in sorted(folder.rglob('*'), reverse=True):
        try:
            if path.is_dir():
                path.rmdir()
            elif time.time() - path.stat().st_mtime > keep:
                path.unlink()
        except OSError:  # not empty, or removed meanwhile
            continue
