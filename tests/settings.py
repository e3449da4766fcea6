"""HomeRack's settings with a second, foreign app: `ops` has to work for any project."""

from homerack.settings import *  # noqa: F403
from homerack.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.otherproject"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.BCryptPasswordHasher",
]
