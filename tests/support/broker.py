"""Let this process send its tasks to the Redis of a test."""

import contextlib
from collections.abc import Iterator
from typing import Any

import kombu.pools

from homerack.celery import app
from ops.utils.single_flight import shared_calls
from tests.support.backend import eventually


def use_broker(settings: Any, url: str) -> None:
    """With the timeouts of the settings."""
    settings.REDIS_URL, settings.OPS_CELERY_APP = url, "homerack.celery.app"
    _use(url)


@contextlib.contextmanager
def forgetting_broker() -> Iterator[None]:
    """Afterwards no connection to the broker of the block is left, and no question about it is open."""
    try:
        yield
    finally:
        eventually(lambda: not shared_calls._calls)
        kombu.pools.reset()
        _use(None)


def _use(url: str | None) -> None:
    app.conf.broker_url = app.conf.result_backend = url
    app._pool = app.amqp._producer_pool = None
    vars(app._local).pop("backend", None)
