"""A TCP proxy in front of a server, which injects faults of a network."""

import contextlib
import selectors
import socket
import threading

CHUNK = 65_536


class Proxy:
    """Forwards every connection to ``127.0.0.1:target``.

    `freeze` stops forwarding, as a pulled cable does. `at_commit`: what happens to the answer to a COMMIT, which the
    server has got: ``"cut"`` closes the connection, ``"hold"`` never sends it. ``"lose"`` closes the connection before
    the server gets the COMMIT. `commit_after`: only in a connection in which these bytes were sent before. With
    `refuse_after_commit` nobody is connected from then on, until `accept`.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.at_commit = ""
        self.commit_after = b""
        self.refuse_after_commit = False
        self._frozen = threading.Event()
        self.refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen.set()

    def thaw(self) -> None:
        self._frozen.clear()

    def refuse(self) -> None:
        """Close all connections, and each new one."""
        self.refuses = True
        # The threads that forward them notice that, and close them and those to the server.
        self._shut_down(*self._sockets)

    def accept(self, target: int = 0) -> None:
        """Connect again, to the server on the port `target` if it is given."""
        self.target = target or self.target
        self.at_commit = ""
        self.refuses = False

    def stop(self) -> None:
        self._shut_down(self._listener, *self._sockets)
        for each in (self._listener, *self._sockets):
            each.close()

    def _shut_down(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _end_commit(self) -> None:
        if self.refuse_after_commit:
            self.refuse()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                self._sockets.append(client)
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server, client:
            selector = selectors.DefaultSelector()
            for each, other in ((client, server), (server, client)):
                selector.register(each, selectors.EVENT_READ, other)
            committed, is_meant = False, False
            while True:
                for key, _ in selector.select():
                    while self._frozen.is_set():
                        threading.Event().wait(0.02)
                    data = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                    if not data:
                        return
                    is_meant |= key.fileobj is client and self.commit_after in data
                    if key.fileobj is client and b"COMMIT" in data and self.at_commit and is_meant:
                        if self.at_commit == "lose":
                            self._end_commit()
                            return
                        committed = True
                    elif key.fileobj is server and committed:
                        if self.at_commit == "cut":
                            self._end_commit()
                            return
                        continue
                    key.data.sendall(data)
