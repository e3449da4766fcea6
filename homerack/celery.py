"""The Celery app: ``celery -A homerack worker``. Broker and results are the Redis of ``REDIS_URL``.

Every process has this app: the site imports it at its start (`homerack.apps`), so that whoever asks Celery for its
current app, as django-celery-beat does, gets it. Nothing connects before a task is sent.
"""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")

app = Celery("homerack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_logging_as_it_is(**_options: object) -> None:
    """Worker and beat log as LOGGING says: to have a receiver keeps Celery from setting up its own."""
