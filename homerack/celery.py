"""The Celery app: ``celery -A homerack worker``. Broker and results are the Redis of ``REDIS_URL``.

`homerack.apps` imports it in every process, so that it is Celery's current app, which django-celery-beat uses. Nothing
connects before a task is sent.
"""

import os

from celery import Celery
from celery.signals import setup_logging, worker_init

from homerack.preloading import import_pool

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")

app = Celery("homerack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_logging(**_options: object) -> None:
    """Do nothing: with a receiver of this signal Celery keeps the configuration in LOGGING."""


@worker_init.connect  # type: ignore[untyped-decorator]
def prepare_fork(**_options: object) -> None:
    import_pool()
