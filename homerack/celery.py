"""The Celery app: ``celery -A homerack worker``. Broker and results are the Redis of ``REDIS_URL``."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")

app = Celery("homerack")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
