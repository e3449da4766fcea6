"""The input of gunicorn's parser and the output of its responses, buffered: threads do not wait for slow clients."""

import errno
import io
import select
import socket
import time
from typing import Any

MAX_UNSENT = 1_000_000
"""Bytes of a response that are buffered for a slow client; no page or static file is larger."""
SEND_SECONDS = 30
"""How long a thread waits for a client to read any part of a larger response, which is a download."""
UPLOAD_SILENCE_SECONDS = 30
"""How long a thread waits for the next bytes of an upload."""
UPLOAD_GRACE_SECONDS = 60
UPLOAD_MIN_RATE = 10_000
"""Bytes a second that an upload has on average after that time: a byte now and then would occupy a thread for ever."""


class ReceivedRequest:
    """The bytes already read from a connection, followed, for an upload, by those that arrive on `rest`."""

    def __init__(self, data: bytes, rest: "socket.socket | BufferedSocket | None" = None) -> None:
        self.data = io.BytesIO(data)
        self.rest = rest
        self.began, self.received = time.monotonic(), 0

    def recv(self, size: int) -> bytes:
        """Like `socket.recv`. Raises TimeoutError if the client of an upload sends nothing for long, or too little."""
        data = self.data.read(size)
        if data or self.rest is None:
            return data
        seconds = time.monotonic() - self.began
        if seconds > UPLOAD_GRACE_SECONDS and self.received < seconds * UPLOAD_MIN_RATE:
            raise TimeoutError(f"The client has sent {self.received} bytes in {seconds:.0f} s.")
        self.rest.settimeout(UPLOAD_SILENCE_SECONDS)
        data = bytes(self.rest.recv(size))
        self.received += len(data)
        return data


class BufferedSocket:
    """A socket that buffers what the client does not read immediately; gunicorn's main thread sends it later.

    A thread waits only while more than `MAX_UNSENT` is buffered, which happens for downloads.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = bytearray()
        self.queued_at: float | None = None
        """When the request began to wait for a thread; None where that does not matter."""

    def seconds_in_queue(self) -> float:
        """For the thread that takes the request. Later requests of the connection do not count that time."""
        queued_at, self.queued_at = self.queued_at, None
        return 0.0 if queued_at is None else time.monotonic() - queued_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def sendall(self, data: bytes) -> None:
        """Send or buffer `data`. Raises BrokenPipeError when the client of a download reads nothing for too long."""
        self.unsent += data
        self.flush()
        while len(self.unsent) > MAX_UNSENT:
            poll = select.poll()
            poll.register(self.sock, select.POLLOUT)
            if not poll.poll(SEND_SECONDS * 1000):
                self.unsent.clear()
                raise BrokenPipeError(errno.EPIPE, f"The client read nothing for {SEND_SECONDS} s.")
            self.flush()

    def flush(self) -> None:
        """Send as much as possible without waiting. Raises OSError when the client has disconnected."""
        if not self.unsent:
            return
        try:
            sent = self.sock.send(self.unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            self.unsent.clear()
            raise
        del self.unsent[:sent]
