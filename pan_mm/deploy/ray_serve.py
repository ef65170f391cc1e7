"""The HTTP API of ``serve`` on Ray Serve: many replicas, each with its model, clips in batches.

    serve run pan_mm.deploy.ray_serve:app num_gpus=1 num_replicas=2

Ray Serve starts, watches, scales and replaces the replicas; what a request gets is answered by
:mod:`pan_mm.deploy.server.app`, as with one process. Live cameras are off, because the frames of
one would reach several replicas.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from ray import serve
from starlette.applications import Starlette

from pan_mm.deploy.server.app import create_app
from pan_mm.deploy.server.decoding import Decoder
from pan_mm.deploy.server.limits import Limits, read_token
from pan_mm.inference.inferencer import PANInferencer
from pan_mm.inference.zoo import choose

BATCH_WAIT = 0.01  # seconds that a clip waits for others


class Options(BaseModel):
    """Arguments of :func:`app`, on the command line of ``serve run`` or under ``args`` in a file.

    Arguments of the command ``serve`` mean the same here; files are read where the replicas run.
    ``batch_size`` clips are recognized together, and decoded at once, in a replica; of
    ``max_ongoing_requests``, by default twice the batch, the others wait there.
    """

    model_config = ConfigDict(extra='forbid')

    model: Optional[str] = None
    config: Optional[str] = None
    checkpoint: Optional[str] = None
    label_map: Optional[str] = None
    optimize: Optional[list] = None
    token_file: Optional[str] = None
    hosts: list = ['*']
    max_mib: PositiveFloat = 64
    max_seconds: PositiveFloat = 600
    timeout: PositiveFloat = 60
    batch_size: PositiveInt = 8
    num_replicas: PositiveInt = 1
    num_gpus: float = 0
    max_ongoing_requests: Optional[PositiveInt] = None

    @property
    def ongoing(self) -> int:
        """Requests in a replica: by default a batch is decoded while one is recognized."""
        return self.max_ongoing_requests or 2 * self.batch_size


def app(options: Options) -> serve.Application:
    """Build the application that ``serve run`` or a ``RayService`` deploys."""
    return Server.options(  # type: ignore[operator,misc]  # a decorated class
        num_replicas=options.num_replicas,
        max_ongoing_requests=options.ongoing,
        ray_actor_options=dict(num_gpus=options.num_gpus),
        graceful_shutdown_timeout_s=options.timeout,
    ).bind(options.model_dump())


@serve.deployment
@serve.ingress()
class Server:
    """A replica; its :class:`Options` as a dict."""

    def __init__(self, options: dict) -> None:
        self.options = Options(**options)

    def __serve_build_asgi_app__(self) -> Starlette:
        o = self.options
        config, checkpoint = choose(o.model or o.config, o.checkpoint)
        inferencer = PANInferencer(config, checkpoint, label_map=o.label_map, optimize=o.optimize)
        limits = Limits(
            max_bytes=round(o.max_mib * 2**20),
            max_seconds=o.max_seconds,
            timeout=o.timeout,
            waiting=o.ongoing,
            decoding=o.batch_size,
            cameras=0,
        )
        self.decoder = Decoder(inferencer.pipeline, limits)
        token = read_token(o.token_file)
        return create_app(inferencer, limits, o.hosts, token, batched=self.batched)

    def batched(self, recognize: Callable) -> Callable:
        """Let Ray Serve gather the clips of several requests for a call of the model."""
        thread = ThreadPoolExecutor(1, 'model')

        @serve.batch(max_batch_size=self.options.batch_size, batch_wait_timeout_s=BATCH_WAIT)
        async def recognize_batch(clips: list) -> Any:
            return await asyncio.get_running_loop().run_in_executor(thread, recognize, clips)

        return recognize_batch

    async def check_health(self) -> None:
        """Start a process that decodes; Ray replaces a replica where that fails."""
        await self.decoder.check()
