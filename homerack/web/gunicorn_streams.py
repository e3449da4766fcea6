"""What gunicorn's parser reads from and its responses write to, so that a thread waits for no client."""

import errno
import io
import select
import socket
from typing import Any

MAX_UNSENT = 1_000_000
"""Bytes of a response that are kept for a client that does not take them; no page or static file is larger."""
SEND_SECONDS = 30
"""How long a thread waits for a client to take anything of a response that is larger than that: a download."""
UPLOAD_SILENCE_SECONDS = 30
"""How long a thread waits for the next bytes of an upload."""


class ReceivedRequest:
    """Bytes that have been read from a connection, to be read again; then, for an upload, what follows on `rest`."""

    def __init__(self, data: bytes, rest: "socket.socket | BufferedSocket | None" = None) -> None:
        self.data = io.BytesIO(data)
        self.rest = rest

    def recv(self, size: int) -> bytes:
        """As a socket's. Raises TimeoutError when the client of an upload has sent nothing for too long."""
        data = self.data.read(size)
        if data or self.rest is None:
            return data
        self.rest.settimeout(UPLOAD_SILENCE_SECONDS)
        return bytes(self.rest.recv(size))


class BufferedSocket:
    """A connection that keeps what the client does not take at once; gunicorn's main thread sends it later.

    A thread waits only where more than `OUTLET_LIMIT` is kept, which is for downloads.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.unsent = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def sendall(self, data: bytes) -> None:
        """Send or keep `data`. Raises BrokenPipeError when a client takes nothing of a download for too long."""
        self.unsent += data
        self.flush()
        while len(self.unsent) > MAX_UNSENT:
            poll = select.poll()
            poll.register(self.sock, select.POLLOUT)
            if not poll.poll(SEND_SECONDS * 1000):
                self.unsent.clear()
                raise BrokenPipeError(errno.EPIPE, f"The client took nothing for {SEND_SECONDS} s.")
            self.flush()

    def flush(self) -> None:
        """Send as much as the client takes without waiting. Raises OSError when it is gone."""
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
