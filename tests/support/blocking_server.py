"""The site with test URLs: ``/hold/SECONDS/`` keeps a database connection, ``/release/`` ends all of these.

``/large/`` answers with `LARGE` bytes, ``/echo/`` with the body of the request.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.core import signals
from django.db import connection

from homerack.wsgi import application as homerack

released = threading.Event()
LARGE = 900_000


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path, answer = environ["PATH_INFO"], b""
    if path.startswith("/hold/"):
        signals.request_started.send(sender=None, environ=environ)
        connection.ensure_connection()
        released.wait(float(path.split("/")[2]))
        signals.request_finished.send(sender=None)
    elif path == "/release/":
        released.set()
    elif path == "/large/":
        answer = b"x" * LARGE
    elif path == "/echo/":
        answer = environ["wsgi.input"].read()
    else:
        return homerack(environ, start_response)
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
