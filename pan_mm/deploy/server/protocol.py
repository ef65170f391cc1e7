"""Connections that may not last: what uvicorn leaves open, until a request has come in whole."""

import asyncio
import ipaddress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # for a request's line and headers, and for silence before them
SEND_SECONDS = 30.0  # for the client to take an answer


def client_of(address: str) -> str:
    """Who an address belongs to: of IPv6, one holds a network of 64 bits or more."""
    try:
        parsed = ipaddress.ip_address(address.partition('%')[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with limits on what comes before a request and stays after it.

    ``limit_concurrency`` of uvicorn's configuration bounds the connections in all; those above it
    are answered with 503 and closed at once. Subclasses set the rest; see :func:`bounded`.

    Attributes:
        per_client (int): Connections of one client; further ones are answered with 429.
        proxy (str | None): Address of a reverse proxy, whose connections are many clients'.
        request_seconds (float): From the first byte of a request's body to the last of its answer.
        refused (dict[str, int]): Connections that were refused, by reason.
    """

    per_client: int
    proxy: object
    request_seconds: float
    refused: dict

    _timer = None
    _phase = ''

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ''
        self._owner = client_of(address)
        self._watch()
        if len(self.connections) > self.limit_concurrency:
            self._refuse('full', '503 Service Unavailable', 'too many connections are open')
        elif address != self.proxy:
            own = sum(getattr(other, '_owner', '') == self._owner for other in self.connections)
            if own > self.per_client:
                message = f'{self.per_client} connections of your address are open'
                self._refuse('client', '429 Too Many Requests', message)

    def connection_lost(self, exc) -> None:
        """Forget a connection."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes, unless the connection is refused already."""
        if self._phase == 'refused':
            return
        super().data_received(data)
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, instead of whatever answers the request that it is part of."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # an answer had begun
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self):
        """Set the time limit of the phase that the connection is in."""
        is_waiting = self.conn.their_state is h11.IDLE
        phase = 'headers' if is_waiting else 'request'
        if phase == self._phase or self._phase == 'refused':
            return
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
        if is_waiting:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._too_slow)
        else:
            self._timer = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _too_slow(self):
        message = f'the headers did not come within {HEADER_SECONDS:g} s'
        self._refuse('slow', '408 Request Timeout', message)

    def _refuse(self, reason, status, message):
        self._phase = 'refused'
        self.refused[reason] += 1
        self._timer.cancel()
        if not self.transport.is_closing():
            body = f'{{"error": "{message}"}}'
            head = f'HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close'
            if reason != 'slow':
                head += '\r\nRetry-After: 5'
            self.transport.write(f'{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())
            self.transport.close()
        self._timer = self.loop.call_later(1, self.transport.abort)  # if it did not read that


def bounded(per_client: int, proxy, timeout: float) -> type[BoundedProtocol]:
    """The protocol for a server.

    Args:
        per_client (int): Connections of one client.
        proxy (str | None): Address of a reverse proxy in front.
        timeout (float): Seconds for a body to come, and again for the answer to be made.
    """
    return type(
        'Protocol',
        (BoundedProtocol,),
        dict(
            per_client=per_client,
            proxy=proxy,
            request_seconds=2 * timeout + SEND_SECONDS,
            refused=dict(full=0, client=0, slow=0),
        ),
    )
