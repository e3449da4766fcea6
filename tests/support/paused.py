"""The site with pages that wait at a moment of their transaction, until the test has broken the database.

``?at=MOMENT&in=FOLDER``: the page makes the file ``reached`` in FOLDER, and goes on when there is a file ``go``.
``/test/read/`` reads twice, ``/test/write/`` writes two rows in one transaction, ``/test/write-each/`` in two,
``/test/sleep/`` runs a statement of that many seconds, ``/test/copy/`` copies out.
"""

import io
import os
import time
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")
settings.ROOT_URLCONF = "tests.support.paused"
application = get_wsgi_application()

from homerack.preloading import import_pages  # noqa: E402  # what homerack.wsgi does
from homerack.urls import handler500  # noqa: E402, F401  # of the URLs of the project only

BEFORE, BETWEEN, COMMIT = "before", "between", "commit"


def pause(request: HttpRequest, moment: str) -> None:
    if request.GET.get("at") != moment:
        return
    folder, deadline = Path(request.GET["in"]), time.monotonic() + 60
    (folder / "reached").touch()
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def read(request: HttpRequest) -> HttpResponse:
    pause(request, BEFORE)
    run("SELECT count(*) FROM paused")
    pause(request, BETWEEN)
    run("SELECT count(*) FROM paused")
    return HttpResponse("read")


def write_rows(request: HttpRequest) -> None:
    pause(request, BEFORE)
    run("INSERT INTO paused VALUES (1)")
    pause(request, BETWEEN)
    run("INSERT INTO paused VALUES (2)")
    pause(request, COMMIT)


@csrf_exempt
def write(request: HttpRequest) -> HttpResponse:
    pause(request, "early")
    with transaction.atomic():
        write_rows(request)
    return HttpResponse("written")


@csrf_exempt
def write_each(request: HttpRequest) -> HttpResponse:
    write_rows(request)
    return HttpResponse("written")


def sleep(request: HttpRequest, seconds: str) -> HttpResponse:
    run(f"SELECT pg_sleep({float(seconds)})")
    return HttpResponse("slept")


def repeat(request: HttpRequest, number: int) -> HttpResponse:
    """Many statements, each of which takes half a second: one by one, and in one `executemany`."""
    for _ in range(number):
        run("SELECT pg_sleep(0.5)")
    with connection.cursor() as cursor:
        cursor.executemany("SELECT pg_sleep(%s)", [[0.5]] * number)
    return HttpResponse("repeated")


def copy(request: HttpRequest, seconds: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT pg_sleep({float(seconds)})) TO STDOUT", io.StringIO())  # type: ignore[attr-defined]
    return HttpResponse("copied")


urlpatterns = [
    path("test/read/", read),
    path("test/write/", write),
    path("test/write-each/", write_each),
    path("test/sleep/<str:seconds>/", sleep),
    path("test/repeat/<int:number>/", repeat),
    path("test/copy/<str:seconds>/", copy),
    path("", include("homerack.urls")),
]
import_pages()
