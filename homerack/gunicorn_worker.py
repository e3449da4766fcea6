"""gunicorn's threaded worker, with a lane of its own for health probes.

When the database hangs, so does every thread that asks it, and a probe would wait in the queue behind them: the one
question that must be answered then would not be. So while all threads are busy, probes go to a few others.
"""

import re
import selectors
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT, TConn, ThreadWorker

PROBE = re.compile(rb"(GET|HEAD) /health[/? ]")
LANE_THREADS = 4


class HealthLaneWorker(ThreadWorker):
    """All of this but `handle` runs in the worker's main thread, so that nothing needs a lock."""

    def init_process(self) -> None:
        self.busy: set[TConn] = set()
        self.lane = ThreadPoolExecutor(LANE_THREADS, thread_name_prefix="health")
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        start = peek(conn.sock)
        if start is None and not conn.initialized and not conn.data_ready:
            self.wait_for_request(conn)
            return
        conn.data_ready = True
        if len(self.busy) >= self.cfg.threads and PROBE.match(start or b""):
            future = self.lane.submit(self.handle, conn)
        else:
            self.busy.add(conn)
            future = self.tpool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: TConn, fs: "Future[object]") -> None:
        self.busy.discard(conn)
        super().finish_request(conn, fs)

    def wait_for_request(self, conn: TConn) -> None:
        """Let the poller watch a connection that has said nothing yet, as gunicorn does after a while in a thread."""
        conn.sock.setblocking(False)  # noqa: FBT003  # socket's own signature
        conn.timeout = time.monotonic() + DEFAULT_WORKER_DATA_TIMEOUT
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))


def peek(sock: socket.socket) -> bytes | None:
    """The first bytes that have arrived, left where they are; None when there are none."""
    try:
        return sock.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return None
