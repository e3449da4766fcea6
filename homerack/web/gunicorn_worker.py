"""gunicorn's threaded worker, whose threads handle only requests that have arrived completely.

Plain gunicorn reads a request in the thread that handles it, so as many slow clients as there are threads block a site.
Here the main thread reads each request into memory, within limits of size and time, and sends the rest of each
response. There are three thread pools: for pages; for uploads, which are too large for memory; and for health probes
while all threads for pages are busy. When the database hangs, the pages wait for it, and probes must still be answered.
"""

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.urls import reverse
from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn, ThreadWorker

from homerack.web.gunicorn_streams import BufferedSocket, ReceivedRequest

PROBE = re.compile(rb"(GET|HEAD) /health[/? ]")
PROBE_THREADS = 4
UPLOAD_THREADS = 3
UPLOAD_PAGES = {
    "admin:ops_backup_upload": UPLOAD_THREADS,
    "admin:inventory_devicemodel_import": UPLOAD_THREADS - 1,
    "admin:spreadsheets": UPLOAD_THREADS - 1,
}
"""How many uploads there may be at a time, those of other pages included, when one of this page begins.

One thread is left to administrators, who may have to restore a backup while editors import.
"""
MAX_HEAD = 65_536
"""Bytes of the request line and headers together; gunicorn also limits each of them."""
MAX_READING = 200
"""Connections of each kind that the main thread handles; beyond that the oldest one is closed."""
MAX_QUEUED = 100
"""Requests that wait for a thread of each pool."""
LINGER_SECONDS = 2
"""How long a client may still send after its last response: an immediate close could reset the connection."""
FLUSH_SECONDS = 60
"""How long a client may take to read a response."""
RETRY_SECONDS = 10
SWEEP_SECONDS = 0.25
RECV_BYTES = 65_536

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(kw_only=True)
class IncomingRequest:
    """A request that is being read; `size` is its total number of bytes, known once the head has been read."""

    deadline: float
    data: bytearray = field(default_factory=bytearray)
    size: int | None = None


class ProbeAwareWorker(ThreadWorker):
    """Everything except `handle`, `handle_request` and `serve` runs in the main thread, so no locks are needed."""

    def init_process(self) -> None:
        self.reading: dict[TConn, IncomingRequest] = {}
        self.draining: dict[TConn, float] = {}
        self.busy: set[TConn] = set()
        self.pages: set[TConn] = set()
        self.probing: set[TConn] = set()
        self.uploading: set[TConn] = set()
        self.probe_pool = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="health")
        self.upload_pool = ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="upload")
        self.progressed = self.swept = time.monotonic()
        self.max_keepalived = MAX_READING
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application: Application = self.wsgi
        self.wsgi: Application = partial(self.serve, application)
        # gunicorn imports this module before Django is set up.
        from homerack.web import error_pages, error_texts  # noqa: PLC0415

        shown = error_texts.TOO_LARGE, error_texts.BUSY
        self.refusals = {page.status: error_pages.render(page) for page in shown}
        self.upload_paths = {reverse(name): limit for name, limit in UPLOAD_PAGES.items()}

    # --- Reading requests ----------------------------------------------------------------------------------------
    def enqueue_req(self, conn: TConn) -> None:
        """Called by gunicorn where a request may begin: for a new connection, and for one that was kept alive."""
        if conn.parser is None:
            conn.sock = BufferedSocket(conn.sock)
        begun = conn.parser.unreader.take_buffered() if conn.parser else b""
        if len(self.reading) >= MAX_READING:
            self.abort(next(iter(self.reading)), HTTPStatus.SERVICE_UNAVAILABLE)
        self.reading[conn] = IncomingRequest(deadline=time.monotonic() + settings.WEB_HEAD_SECONDS)
        conn.sock.setblocking(False)  # noqa: FBT003  # socket's own signature
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_readable, conn))
        if begun:
            self.receive(conn, begun)

    def on_readable(self, conn: TConn, _sock: BufferedSocket) -> None:
        if conn not in self.reading:
            return  # it was aborted by another event of the same poll
        try:
            data = conn.sock.recv(RECV_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.receive(conn, data)
        else:
            self.close_connection(conn)

    def receive(self, conn: TConn, data: bytes) -> None:
        arrival = self.reading[conn]
        searched = len(arrival.data)
        arrival.data += data
        if arrival.size is None:
            end = arrival.data.find(b"\r\n\r\n", max(0, searched - 3))
            if end >= 0:
                self.read_head(conn, arrival, end + 4)
            elif len(arrival.data) > MAX_HEAD:
                self.refuse(conn, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if arrival.size is not None and conn in self.reading and len(arrival.data) >= arrival.size:
            self.submit(conn)

    def read_head(self, conn: TConn, arrival: IncomingRequest, end: int) -> None:
        """Determine the size of the request, or refuse it."""
        try:
            request = next(get_parser(self.cfg, iter([bytes(arrival.data[:end])]), conn.client))
        except Exception:  # noqa: BLE001  # gunicorn parses it again in the thread, and answers the error
            arrival.size = end
            return
        length = getattr(request.body.reader, "length", None)
        if length is None:
            # Chunked: Django does not read bodies of unknown length, and browsers do not send them.
            self.refuse(conn, HTTPStatus.LENGTH_REQUIRED)
        elif limit := self.upload_limit(request):
            self.submit_upload(conn, limit)
        elif length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            self.refuse(conn, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            arrival.size = end + length
            arrival.deadline = time.monotonic() + settings.WEB_BODY_SECONDS
            if request._expected_100_continue and len(arrival.data) < arrival.size:  # noqa: SLF001  # gunicorn has no public name for it
                self.send(conn, b"HTTP/1.1 100 Continue\r\n\r\n")

    def upload_limit(self, request: Any) -> int:
        """How many uploads there may be for this one to begin; 0 if it is none."""
        return self.upload_paths.get(request.path, 0) if request.method == "POST" else 0

    # --- Passing requests to threads -----------------------------------------------------------------------------
    def submit(self, conn: TConn) -> None:
        data = self.release(conn)
        is_probe = bool(PROBE.match(data))
        pool, members = self.tpool, self.busy
        if is_probe and len(self.busy) >= self.cfg.threads:
            pool, members = self.probe_pool, self.probing
        if len(members) >= self.cfg.threads + MAX_QUEUED:
            self.refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if not is_probe:
            self.mark_busy(conn)
            conn.sock.queued_at = time.monotonic()
        members.add(conn)
        self.start(conn, ReceivedRequest(data), pool)

    def submit_upload(self, conn: TConn, limit: int) -> None:
        """Django authenticates before it reads the file, so anonymous clients do not occupy these threads."""
        if len(self.uploading) >= limit:
            self.refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        data = self.release(conn)
        self.uploading.add(conn)
        self.start(conn, ReceivedRequest(data, conn.sock), self.upload_pool)

    def start(self, conn: TConn, source: ReceivedRequest, pool: ThreadPoolExecutor) -> None:
        if conn.parser is None:
            conn.initialized = conn.data_ready = True
            conn.parser = get_parser(self.cfg, source, conn.client)
        else:
            conn.parser.unreader.sock = source
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def release(self, conn: TConn) -> bytes:
        """Stop reading in the main thread, and return what has been read."""
        self.poller.unregister(conn.sock)
        return bytes(self.reading.pop(conn).data)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        if conn in self.uploading:
            req.force_close()
        else:
            req._expected_100_continue = False  # noqa: SLF001  # the main thread has sent 100 Continue
        return bool(super().handle_request(req, conn))

    def serve(
        self, application: Application, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Call the application with the state of the threads, which `ops.health.views` reports.

        A page that has waited for a thread for too long is refused: while each page waits for a frozen database, those
        behind it would wait for minutes.
        """
        if environ["gunicorn.socket"].seconds_in_queue() > settings.WEB_QUEUE_SECONDS:
            return self.refuse_late(environ, start_response)
        environ["ops.free_threads"] = max(0, self.cfg.threads - len(self.pages))
        environ["ops.stalled_seconds"] = self.stalled_seconds()
        return application(environ, start_response)

    def refuse_late(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        headers, body = self.refusal(status)
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def refusal(self, status: HTTPStatus) -> tuple[dict[str, str], bytes]:
        """Headers and body of the response to a request that Django does not get."""
        page = self.refusals.get(status, "")
        body = (page or f"{status.value} {status.phrase}\n").encode()
        headers = {
            "Content-Type": "text/html; charset=utf-8" if page else "text/plain",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        }
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_SECONDS)
        return headers, body

    # --- After responses -----------------------------------------------------------------------------------------
    def finish_request(self, conn: TConn, fs: "Future[object]") -> None:
        if conn in self.pages:
            self.progressed = time.monotonic()
        for members in (self.busy, self.pages, self.probing, self.uploading):
            members.discard(conn)
        if conn.sock.unsent:
            self.drain(conn, selectors.EVENT_WRITE, partial(self.on_writable, conn, fs), FLUSH_SECONDS)
        else:
            self.after_response(conn, fs)

    def after_response(self, conn: TConn, fs: "Future[object]") -> None:
        """The response is sent: keep the connection for the next request, or close it."""
        if not fs.cancelled() and fs.exception() is None and fs.result():
            # The client may have sent the beginning of the next request already (pipelining).
            unreader = conn.parser.unreader
            unreader.unread(unreader.take_buffered() + unreader.sock.recv(RECV_BYTES))
            super().finish_request(conn, fs)
        else:
            self.linger(conn)

    def on_writable(self, conn: TConn, fs: "Future[object]", _sock: BufferedSocket) -> None:
        if conn not in self.draining:
            return
        try:
            conn.sock.flush()
        except OSError:
            self.close_connection(conn)
            return
        if not conn.sock.unsent:
            self.poller.unregister(conn.sock)
            del self.draining[conn]
            self.after_response(conn, fs)

    def abort(self, conn: TConn, status: HTTPStatus) -> None:
        """Close a connection whose request is incomplete, with a response if anything has been received."""
        if self.reading[conn].data:
            self.refuse(conn, status)
        else:
            self.close_connection(conn)

    def refuse(self, conn: TConn, status: HTTPStatus) -> None:
        """Respond from the main thread, and close."""
        self.log.info("Refused a request from %s: %s %s", conn.client or "a socket", status.value, status.phrase)
        if conn in self.reading:
            self.release(conn)
        headers, body = self.refusal(status)
        lines = (f"{name}: {value}\r\n" for name, value in {**headers, "Connection": "close"}.items())
        self.send(conn, f"HTTP/1.1 {status.value} {status.phrase}\r\n{''.join(lines)}\r\n".encode() + body)
        self.linger(conn)

    def send(self, conn: TConn, data: bytes) -> None:
        """Send a short response, which fits into the socket's buffer."""
        with contextlib.suppress(OSError):
            conn.sock.send(data, socket.MSG_DONTWAIT)

    def linger(self, conn: TConn) -> None:
        """Shut down the sending side, and let the client close, without blocking the main thread as gunicorn does."""
        with contextlib.suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        self.drain(conn, selectors.EVENT_READ, partial(self.on_discarded, conn), LINGER_SECONDS)

    def on_discarded(self, conn: TConn, _sock: BufferedSocket) -> None:
        if conn not in self.draining:
            return
        try:
            data = conn.sock.recv(RECV_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close_connection(conn)

    def drain(self, conn: TConn, event: int, callback: Callable[[BufferedSocket], None], seconds: float) -> None:
        if len(self.draining) >= MAX_READING:
            self.close_connection(next(iter(self.draining)))
        self.draining[conn] = time.monotonic() + seconds
        self.poller.register(conn.sock, event, callback)

    def close_connection(self, conn: TConn) -> None:
        """Close a connection that the main thread handles."""
        self.reading.pop(conn, None)
        self.draining.pop(conn, None)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Called by gunicorn in each turn of its loop: close connections that exceeded their time limit."""
        now = time.monotonic()
        if now < self.swept + SWEEP_SECONDS:
            return
        self.swept = now
        for conn, arrival in list(self.reading.items()):
            if now > arrival.deadline or not (self.alive or arrival.data):
                self.abort(conn, HTTPStatus.REQUEST_TIMEOUT)
        for conn, deadline in list(self.draining.items()):
            if now > deadline:
                self.close_connection(conn)

    # --- State of the threads ------------------------------------------------------------------------------------
    def mark_busy(self, conn: TConn) -> None:
        """Count the request of a page. Probes do not count: they have a deadline of their own."""
        if len(self.pages) < self.cfg.threads:
            self.progressed = time.monotonic()
        self.pages.add(conn)

    def stalled_seconds(self) -> float:
        """How long all threads have been busy without one becoming free; 0 while a thread is free."""
        return time.monotonic() - self.progressed if len(self.pages) >= self.cfg.threads else 0.0
