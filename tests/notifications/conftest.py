"""An HTTP server that receives notifications and records them."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Receiver:
    """`status` is what it answers from now on; it waits for `seconds` before that."""

    port: int = 0
    status: int = 200
    answer: bytes = b"OK"
    seconds: float = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and body."""
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            state.requests.append((self.command, self.path, body))
            state.released.wait(state.seconds)
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(state.answer)

        do_GET = do_POST = do_PUT = answer  # noqa: N815

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    state.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def titles_without_the_site(settings: Any) -> None:
    """The tests read titles as ops writes them; test_channels.py has the name of the site."""
    settings.OPS_SITE_NAME = ""


@pytest.fixture
def storage(settings: Any, tmp_path: Path) -> Path:
    """The directory with the backups of this test."""
    settings.BACKUP_DIR = tmp_path / "backups"
    return settings.BACKUP_DIR
