"""A project with the app `bench.lab`, for `bench.migrate` and `bench.backup`."""

from homerack.settings import *  # noqa: F403

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "homerack.accounts", "bench.lab", "ops"]
ROOT_URLCONF = "bench.settings"
urlpatterns: list[object] = []
OPS_LEGACY_FORMAT = ""
# The values of HomeRack need its other apps.
MIDDLEWARE: list[str] = []
# No web server runs on these settings.
SILENCED_SYSTEM_CHECKS = ["ops.E004", "ops.E005", "ops.E010"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
OPS_ALERT_SOURCES: list[str] = []
OPS_DASHBOARD_CARDS: list[str] = []
