"""A WSGI application for gunicorn whose import, in the master, uses the database: what --preload must survive."""

import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core import signals
from django.db import connection

from homerack.wsgi import application as homerack


def backend_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.01)")
        return int(cursor.fetchone()[0])


logging.getLogger("homerack").warning("preloaded with backend %d", backend_id())


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/backend/":
        return homerack(environ, start_response)
    signals.request_started.send(sender=None, environ=environ)
    body = json.dumps({"process": os.getpid(), "backend": backend_id()}).encode()
    signals.request_finished.send(sender=None)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
