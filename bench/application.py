"""The site with its middleware and three trivial views, for `bench.connections` and `bench.blocked`."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from homerack.postgresql import retry_budget

os.environ["DJANGO_SETTINGS_MODULE"] = "homerack.settings"
settings.ROOT_URLCONF = "bench.application"
application = get_wsgi_application()  # before the urls, which import models
retry_budget.limit_statements()  # as homerack.wsgi does


def run(sql: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        cursor.fetchone()
    return HttpResponse(b"ok")


def one_query(_request: HttpRequest) -> HttpResponse:
    return run("SELECT 1")


def slow_query(_request: HttpRequest) -> HttpResponse:
    return run("SELECT pg_sleep(0.01)")


def no_query(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"ok")


urlpatterns = [
    path("one-query/", one_query),
    path("slow-query/", slow_query),
    path("no-query/", no_query),
    path("", include("homerack.urls")),
]
