"""The smallest project with django-dbbackup, on the database and with the directory that the environment names."""

import os

INSTALLED_APPS = ["dbbackup"]
SECRET_KEY = "only-for-measuring"
USE_TZ = True
DBBACKUP_TMP_DIR = os.environ["DBBACKUP_DIRECTORY"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "dbbackup": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": os.environ["DBBACKUP_DIRECTORY"]},
    },
}
if file := os.environ.get("DBBACKUP_SQLITE"):
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": file}}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
        }
    }
