"""The project under gunicorn, as in production, and its responses."""

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support import forked
from tests.support.postgres import free_port

SESSION_KEY = """
from django.test import Client
from homerack.accounts.models import User
client = Client()
client.force_login(User.objects.get(email={!r}))
print(client.cookies["sessionid"].value)
"""
"""A program that signs in the user with an e-mail address, and prints the key of the session."""


@dataclass(frozen=True)
class Response:
    status: int
    seconds: float
    text: str
    headers: Any = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class WebServer:
    """gunicorn as in production, with `arguments` on top, serving `application`.

    Its environment is that of the tests and `environment`.
    """

    port: int
    log: Path
    process: forked.Process

    @classmethod
    def start(
        cls, *arguments: str, application: str = "homerack.wsgi", umask: int | None = None, **environment: str
    ) -> "WebServer":
        port = free_port()
        log = Path(tempfile.mkstemp(prefix="homerack-gunicorn-")[1])
        # fmt: off
        command = ["-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}",
                   "--no-control-socket", "--graceful-timeout", "1", *arguments]
        # fmt: on
        with log.open("ab") as output:
            process = forked.start(command, env=os.environ | environment, umask=umask, stdout=output, stderr=output)
        server = cls(port=port, log=log, process=process)
        server.wait_until_up()
        return server

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get("/health/live/")
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    sys.exit(f"gunicorn did not start:\n{self.log.read_text()}")
                time.sleep(0.05)
            else:
                return

    def get(self, path: str, *, timeout: float = 30, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=named)
        start = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Response(response.status, time.monotonic() - start, response.read().decode(), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, time.monotonic() - start, error.read().decode(), error.headers)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.unlink()


def send_request(
    port: int, method: str, path: str, *, body: str = "", headers: dict[str, str]
) -> tuple[int, http.client.HTTPMessage, str]:
    """Status, headers and text of the answer; redirects are not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


class Browser:
    """Keeps the cookies of the site, and sends its token with a form."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, body: str = "") -> tuple[int, http.client.HTTPMessage, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        status, headers, text = send_request(self.port, method, path, body=body, headers={"Cookie": cookies, **kind})
        for cookie in headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return status, headers, text

    def post(self, path: str, **fields: str) -> tuple[int, http.client.HTTPMessage, str]:
        if "csrftoken" not in self.cookies:
            self.request("GET", path)
        return self.request("POST", path, urlencode({**fields, "csrfmiddlewaretoken": self.cookies["csrftoken"]}))

    def sign_in(self, name: str, password: str) -> int:
        """The status: 302 when the user is signed in."""
        return self.post("/admin/login/", username=name, password=password, next="/admin/")[0]
