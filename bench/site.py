"""The site in gunicorn, as in production, on a port of its own."""

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import ROOT, ProgramFailed
from tests.support.postgres import die_with_parent, free_port

SECONDS_TO_START = 60


@dataclass
class Site:
    port: int
    log: Path

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, path: str, client: http.client.HTTPConnection) -> int:
        """The status of the response, over a connection that is kept."""
        client.request("GET", path)
        response = client.getresponse()
        response.read()
        return response.status

    def wait_until_up(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                self.get("/no-query/", self.connect())
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise ProgramFailed(f"gunicorn did not start:\n{self.log.read_text()[-3000:]}") from None
                time.sleep(0.05)
            else:
                return


@contextlib.contextmanager
def serving(env: Mapping[str, str], *arguments: str) -> Iterator[Site]:
    """`bench.application` in gunicorn with `arguments` on top."""
    with tempfile.NamedTemporaryFile(prefix="bench-gunicorn-") as log:
        site = Site(port=free_port(), log=Path(log.name))
        bind = ("--bind", f"127.0.0.1:{site.port}", "--no-control-socket", "--graceful-timeout", "1")
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "bench.application", *bind, *arguments],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # as for the server of PostgreSQL
        )
        try:
            site.wait_until_up(process)
            yield site
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)
