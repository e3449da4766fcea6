"""Strangers who send or read slowly, or send much, do not stop the site: gunicorn as in production, with 8 threads."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from homerack.web import gunicorn_streams
from homerack.web.gunicorn_worker import MAX_READING, UPLOAD_THREADS
from tests.support import forked
from tests.support.backend import eventually
from tests.support.forked import ROOT
from tests.support.web import SESSION_KEY, WebServer

THREADS = 8
LOGIN, UPLOAD, IMPORT = "/admin/login/", "/admin/ops/backup/upload/", "/admin/inventory/devicemodel/import/"
HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
LIMIT = 1_000_000
LARGE = 900_000
"""What `tests.support.blocking_server` answers with."""
ADMINISTRATOR = "administrator@example.com"
SIGN_IN = f"""
from homerack.accounts.models import User
User.objects.create_superuser({ADMINISTRATOR!r})
{SESSION_KEY.format(ADMINISTRATOR)}"""


@pytest.fixture(scope="module")
def environment(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = Path(shutil.copytree(migrated, tmp_path_factory.mktemp("site") / "home"))
    (folder / "temporary").mkdir()
    return {
        "DATABASE_URL": f"sqlite:///{folder}/homerack.db",
        "DJANGO_SETTINGS_MODULE": "tests.support.short_timeouts",
        "TMPDIR": str(folder / "temporary"),
        "BACKUP_DIR": str(folder / "backups"),
        "REDIS_URL": "",
    }


@pytest.fixture(scope="module")
def session(environment: dict[str, str]) -> str:
    """The key of an administrator's session."""
    return forked.run(["-c", SIGN_IN], env=os.environ | environment, check=True).stdout.strip()


@pytest.fixture(scope="module")
def web(environment: dict[str, str], session: str) -> Iterator[WebServer]:
    web = WebServer.start("--threads", str(THREADS), application="tests.support.blocking_server", **environment)
    yield web
    web.stop()


class Stranger:
    """A client that decides itself what it sends, and when."""

    def __init__(self, web: WebServer, sent: bytes, *, receives: int = 0) -> None:
        self.socket = socket.socket()
        if receives:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self.socket.connect(("127.0.0.1", web.port))
        self.socket.settimeout(10)
        self.socket.sendall(sent)

    def trickle(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(b"a")

    def answer(self) -> str:
        """All that comes until the server closes."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                received += data
        return received.decode()


def head(method: str, path: str, **headers: object) -> bytes:
    named = {"Host": "localhost"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()


@pytest.fixture
def strangers(web: WebServer) -> Iterator[Callable[..., list[Stranger]]]:
    """Call with a number and what each of them sends at first."""
    with contextlib.ExitStack() as stack:

        def come(number: int, sent: bytes, **options: int) -> list[Stranger]:
            come_now = [Stranger(web, sent, **options) for _ in range(number)]
            for stranger in come_now:
                stack.callback(stranger.socket.close)
            return come_now

        yield come
    eventually(lambda: web.get("/health/ready/").json["checks"]["threads"] == {"status": "healthy"}, within=10)


def assert_the_site_answers(web: WebServer) -> None:
    for path, status in ((LOGIN, 200), ("/health/ready/", 200), ("/health/live/", 200), ("/admin/", 302)):
        answer = opened(web, path)
        assert (path, answer.status) == (path, status)


def opened(web: WebServer, path: str, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=2)
    connection.request(method, path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def temporary_files(environment: dict[str, str]) -> list[str]:
    return [name for name in os.listdir(environment["TMPDIR"]) if not name.startswith("wgunicorn")]  # noqa: PTH208


@pytest.mark.parametrize(
    ("number", "path"),
    [(THREADS, LOGIN), (2 * THREADS, LOGIN), (MAX_READING + 50, LOGIN), (THREADS, "/nowhere/"), (THREADS, "/health/")],
)
def test_slow_bodies_do_not_block_the_site(
    web: WebServer, strangers: Callable[..., list[Stranger]], number: int, path: str
) -> None:
    slow = strangers(number, head("POST", path, Content_Length=1000) + b"a")
    for _ in range(4):
        assert_the_site_answers(web)
        for stranger in slow:
            stranger.trickle()
        time.sleep(0.1)
    assert slow[-1].answer().startswith("HTTP/1.1 408 ")
    if number > MAX_READING:  # the first of them made room
        assert slow[0].answer().startswith("HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("number", "sent"), [(2 * THREADS, b"G"), (2 * THREADS, HALF), (MAX_READING + 50, b""), (MAX_READING + 50, HALF)]
)
def test_slow_headers_do_not_block_the_site(
    web: WebServer, strangers: Callable[..., list[Stranger]], number: int, sent: bytes
) -> None:
    slow = strangers(number, sent)
    for _ in range(4):
        assert_the_site_answers(web)
        if sent:
            for stranger in slow:
                stranger.trickle()
    last = slow[-1].answer()
    assert last.startswith("HTTP/1.1 408 ") if sent else last == ""


def test_slow_readers_do_not_block_the_site(web: WebServer, strangers: Callable[..., list[Stranger]]) -> None:
    """More than fits into the buffers between the two is kept, and sent as it is taken."""
    slow = strangers(4 * THREADS, head("GET", "/large/", Connection="close"), receives=4096)
    time.sleep(0.3)
    assert_the_site_answers(web)
    answer = slow[0].answer()
    assert answer.endswith("\r\n\r\n" + LARGE * "x")


def test_connections_left_open_do_not_block_the_site(web: WebServer, strangers: Callable[..., list[Stranger]]) -> None:
    """gunicorn would wait up to 2 s for each of them, in its main thread."""
    strangers(4 * THREADS, head("GET", LOGIN, Connection="close"))
    start = time.monotonic()
    assert_the_site_answers(web)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("POST", LOGIN, Content_Length=LIMIT + 1), 413),
        (head("POST", LOGIN, Content_Length=400_000_000), 413),
        (head("POST", UPLOAD + "../upload", Content_Length=400_000_000), 413),
        (head("PUT", UPLOAD, Content_Length=400_000_000), 413),
        (head("POST", LOGIN, Transfer_Encoding="chunked") + b"5\r\naaaaa\r\n", 411),
        (head("POST", LOGIN, Transfer_Encoding="chunked", Content_Length=5) + b"5\r\naaaaa\r\n", 400),
        (head("GET", LOGIN, X_Long=8200 * "x"), 431),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 12_000, 431),
        (b"GET /" + b"x" * 66_000, 431),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_too_large_request_is_refused_immediately(
    web: WebServer, strangers: Callable[..., list[Stranger]], sent: bytes, status: int
) -> None:
    start = time.monotonic()
    (stranger,) = strangers(1, sent)
    assert stranger.answer().startswith(f"HTTP/1.1 {status} ")
    assert time.monotonic() - start < 1


def test_400_megabytes_leave_nothing_in_the_temporary_directory(
    web: WebServer, strangers: Callable[..., list[Stranger]], environment: dict[str, str]
) -> None:
    before = temporary_files(environment)
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    kind = "multipart/form-data; boundary=b"
    (stranger,) = strangers(1, head("POST", LOGIN, Content_Type=kind, Content_Length=400_000_000) + part)
    sent, seen = 0, set()
    with contextlib.suppress(OSError):
        while sent < 400_000_000:
            sent += stranger.socket.send(bytes(1 << 20))
            seen.update(temporary_files(environment))
    assert seen <= set(before)


def upload_of(session: str, length: int = 50_000_000, page: str = UPLOAD) -> bytes:
    kind = "multipart/form-data; boundary=b"
    # Without a token for forms Django would refuse before it reads any.
    cookie = {"Cookie": f"sessionid={session}; csrftoken={32 * 'a'}"} if session else {}
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.sql"\r\n\r\n'
    return head("POST", page, Content_Type=kind, Content_Length=length, **cookie) + part


def test_uploads_use_their_own_threads(web: WebServer, strangers: Callable[..., list[Stranger]], session: str) -> None:
    first, *_ = strangers(UPLOAD_THREADS, upload_of(session) + bytes(3 * LIMIT))
    time.sleep(0.3)
    (late,) = strangers(1, upload_of(session))
    refused = late.answer()
    assert refused.startswith("HTTP/1.1 503 ")
    assert "\r\nRetry-After: 10\r\n" in refused
    assert_the_site_answers(web)
    first.socket.close()

    def is_free() -> bool:
        (next_one,) = strangers(1, upload_of(session, length=2 * LIMIT) + bytes(2 * LIMIT))
        return not next_one.answer().startswith("HTTP/1.1 503 ")

    eventually(is_free)


def test_imports_leave_a_thread_to_uploads_of_backups(
    web: WebServer, strangers: Callable[..., list[Stranger]], session: str
) -> None:
    def is_free() -> bool:
        (probe,) = strangers(1, upload_of(session, length=2 * LIMIT) + bytes(2 * LIMIT))
        return not probe.answer().startswith("HTTP/1.1 503 ")

    eventually(is_free)
    part = upload_of(session, page=IMPORT) + bytes(2 * LIMIT)
    importing = strangers(UPLOAD_THREADS - 1, part)
    time.sleep(0.3)
    (late,) = strangers(1, part)
    assert late.answer().startswith("HTTP/1.1 503 ")
    assert is_free()
    for stranger in importing:
        stranger.socket.close()


def test_slow_upload_ends() -> None:
    """A byte now and then is not silence, but too little."""
    server, client = socket.socketpair()
    with server, client:
        upload = gunicorn_streams.ReceivedRequest(b"begun", server)
        client.sendall(bytes(300))
        assert [len(upload.recv(size)) for size in (5, 100)] == [5, 100]
        upload.began -= gunicorn_streams.UPLOAD_GRACE_SECONDS - 10
        assert len(upload.recv(100)) == 100
        upload.began -= 50
        with pytest.raises(TimeoutError, match=r"The client has sent 200 bytes in 1\d\d s\."):
            upload.recv(100)
        upload.received = 2_000_000  # twice as fast as necessary
        assert len(upload.recv(100)) == 100


def unnamed_files(web: WebServer) -> list[int]:
    """The sizes of the open files of the site that have no name, from the smallest."""
    found = []
    for children in Path(f"/proc/{web.process.pid}/task").glob("*/children"):
        for descriptor in (Path("/proc") / pid / "fd" for pid in children.read_text().split()):
            with contextlib.suppress(OSError):
                found += [path.stat().st_size for path in descriptor.iterdir() if "deleted" in str(path.readlink())]
    return sorted(found)


def test_killed_site_leaves_nothing_of_uploads(environment: dict[str, str], session: str, tmp_path: Path) -> None:
    """One has just begun, and one is in the middle."""
    web = WebServer.start("--threads", str(THREADS), **environment | {"TMPDIR": str(tmp_path)})
    with contextlib.ExitStack() as stack:
        for sent in (b"", bytes(3 * LIMIT)):
            uploading = Stranger(web, upload_of(session, length=9 * LIMIT) + sent)
            stack.callback(uploading.socket.close)
        eventually(
            lambda: max([*unnamed_files(web), *(path.stat().st_size for path in tmp_path.rglob("*"))]) >= 2 * LIMIT,
            within=20,
        )
        os.killpg(web.process.pid, signal.SIGKILL)
        web.process.wait()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_upload_without_session_uses_no_upload_thread(web: WebServer, strangers: Callable[..., list[Stranger]]) -> None:
    """Who it is is asked before the file is read."""
    for stranger in strangers(3 * UPLOAD_THREADS, b""):
        stranger.socket.sendall(upload_of(""))
        answer = stranger.answer()
        assert answer.startswith("HTTP/1.1 302 ")
        assert "Connection: close" in answer


class TestThreads:
    def test_busy_threads_fail_readiness_and_stalled_threads_liveness(
        self, web: WebServer, strangers: Callable[..., list[Stranger]]
    ) -> None:
        strangers(2 * THREADS, head("GET", "/hold/2.5/", Connection="close"))
        time.sleep(0.2)
        ready = web.get("/health/ready/")
        assert (ready.status, ready.json["checks"]["threads"]) == (
            503,
            {"status": "unhealthy", "error": "NoFreeThread"},
        )
        assert web.get("/health/live/").status == 200
        eventually(lambda: web.get("/health/live/").status == 503, within=3)
        eventually(lambda: web.get("/health/live/").status == 200, within=3)
        eventually(lambda: web.get("/health/ready/").status == 200, within=5)

    def test_page_that_waited_too_long_for_a_thread_is_refused(
        self, web: WebServer, strangers: Callable[..., list[Stranger]]
    ) -> None:
        strangers(THREADS, head("GET", "/hold/2/", Connection="close"))
        time.sleep(0.2)
        late = web.get("/large/")
        assert (late.status, late.headers["Retry-After"]) == (503, "10")
        assert "<h1>The site is busy</h1>" in late.text
        assert 1 < late.seconds < 4
        assert web.get("/large/").status == 200

    def test_busy_threads_that_make_progress_are_alive(self, web: WebServer) -> None:
        end = time.monotonic() + 2.5

        def visit(_: int) -> None:
            while time.monotonic() < end:
                web.get("/hold/0.3/")

        with ThreadPoolExecutor(3 * THREADS) as executor:
            visits = executor.map(visit, range(3 * THREADS))
            time.sleep(0.5)
            while time.monotonic() < end:
                assert web.get("/health/live/").status == 200
                time.sleep(0.1)
            list(visits)


class TestRequestsThatAreWelcome:
    def test_chunked_body_is_read_completely(self, strangers: Callable[..., list[Stranger]]) -> None:
        body = bytes(range(256)) * 3900
        (client,) = strangers(1, head("POST", "/echo/", Content_Length=len(body), Connection="close"))
        for start in range(0, len(body), 100_000):
            client.socket.sendall(body[start : start + 100_000])
            time.sleep(0.01)
        received = b""
        while data := client.socket.recv(65536):
            received += data
        assert received.endswith(b"\r\n\r\n" + body)

    def test_kept_connection_serves_several_requests(self, web: WebServer) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
        for number in range(3):
            connection.request("POST", "/echo/", body=b"body %d" % number, headers={"Host": "localhost"})
            assert connection.getresponse().read() == b"body %d" % number
        connection.close()

    def test_pipelined_requests_are_answered_in_order(self, strangers: Callable[..., list[Stranger]]) -> None:
        several = b"".join(head("POST", "/echo/", Content_Length=9) + b"number %02d" % number for number in range(20))
        last = head("GET", "/echo/", Connection="close")
        (client,) = strangers(1, several + last)
        answer = client.answer()
        assert answer.count("HTTP/1.1 200 OK") == 21
        assert [f"number {number:02}" in answer for number in range(20)] == [True] * 20

    def test_expect_continue_is_answered(self, strangers: Callable[..., list[Stranger]]) -> None:
        asks = head("POST", "/echo/", Content_Length=4, Expect="100-continue", Connection="close")
        (client,) = strangers(1, asks)
        assert client.socket.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.socket.sendall(b"body")
        answer = client.answer()
        assert answer.startswith("HTTP/1.1 200 OK")
        assert answer.endswith("\r\n\r\nbody")


def test_a_file_in_a_form_is_refused_before_it_is_read(client: object, tmp_path: Path, settings: object) -> None:
    """In Django, too: a server in front of it may be another one."""
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path / "missing")  # type: ignore[attr-defined]  # writing to it would fail
    with (ROOT / "README.md").open("rb") as file:
        answer = client.post(LOGIN, {"username": "x", "password": "x", "file": file})  # type: ignore[attr-defined]
    assert answer.status_code == 400
