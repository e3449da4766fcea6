"""The site, and two addresses beside it: ``/hold/SECONDS/`` keeps a connection, ``/release/`` lets all go."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.core import signals
from django.core.management import call_command
from django.db import connection

from homerack.wsgi import application as homerack

released = threading.Event()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/hold/"):
        signals.request_started.send(sender=None, environ=environ)
        connection.ensure_connection()
        released.wait(float(path.split("/")[2]))
        signals.request_finished.send(sender=None)
    elif path == "/release/":
        released.set()
    else:
        return homerack(environ, start_response)
    start_response("200 OK", [("Content-Length", "0")])
    return []


call_command("migrate", verbosity=0)
