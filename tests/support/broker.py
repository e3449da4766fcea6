"""Let this process send its tasks to the Redis of a test."""

import contextlib
from collections.abc import Iterator
from typing import Any

import kombu.pools
from django.conf import settings as project

from homerack.celery import app
from ops.utils.redis_url import celery_address
from ops.utils.single_flight import shared_calls
from tests.support.backend import eventually


def use_broker(settings: Any, url: str) -> None:
    """With the timeouts of the settings."""
    settings.REDIS_URL, settings.OPS_CELERY_APP = url, "homerack.celery.app"
    _use(*celery_address(url))


@contextlib.contextmanager
def forgetting_broker() -> Iterator[None]:
    """Afterwards no connection to the broker of the block is left, and no question about it is open."""
    try:
        yield
    finally:
        eventually(lambda: not shared_calls._calls)
        kombu.pools.reset()
        _use(None, {})


def _use(url: str | None, options: dict[str, Any]) -> None:
    """`options` are those of Sentinel."""
    app.conf.broker_url = app.conf.result_backend = url
    app.conf.broker_transport_options = project.CELERY_BROKER_TRANSPORT_OPTIONS | options
    app.conf.result_backend_transport_options = options
    app._pool = app.amqp._producer_pool = None
    vars(app._local).pop("backend", None)
