"""A project with the app `bench.lab`, and with `bench.shapes` where that is asked for."""

import os

from homerack.settings import *  # noqa: F403

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "homerack.history",
    "homerack.accounts",
    "bench.lab",
    "ops",
]
ROOT_URLCONF = "bench.settings"
urlpatterns: list[object] = []
OPS_LEGACY_FORMAT = ""
# The values of HomeRack need its other apps.
MIDDLEWARE = []
# No web server runs on these settings.
SILENCED_SYSTEM_CHECKS = ["ops.E004", "ops.E005", "ops.E010"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
OPS_ALERT_SOURCES = []
OPS_DASHBOARD_CARDS = []
if "BENCH_SHAPE" in os.environ:
    INSTALLED_APPS.append("bench.shapes")
