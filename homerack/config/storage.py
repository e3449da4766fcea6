"""``BACKUP_STORAGE`` becomes ``STORAGES["backups"]``."""

from pathlib import Path
from typing import Any

from homerack.config import env


def configure(*, directory: Path) -> dict[str, Any]:
    """The storage location of backups: a private `directory`, or an S3 bucket."""
    if env.get_choice("BACKUP_STORAGE", default="directory", choices=("directory", "s3")) == "directory":
        return {
            "BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage",
            "OPTIONS": {"location": str(directory)},
        }
    return {"BACKEND": "ops.backups.storage.s3.S3BackupStorage", "OPTIONS": bucket_options()}


def bucket_options() -> dict[str, str]:
    """The options of django-storages. Without keys, boto3 uses those of the machine."""
    bucket = env.get_text("BACKUP_S3_BUCKET")
    if not bucket:
        raise env.refuse("BACKUP_S3_BUCKET", "is not set, but BACKUP_STORAGE is s3", "homerack-backups")
    endpoint = env.get_text("BACKUP_S3_ENDPOINT")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        raise env.refuse("BACKUP_S3_ENDPOINT", "is not an http(s) URL", "https://s3.example.org")
    options = {
        "bucket_name": bucket,
        "location": env.get_text("BACKUP_S3_PREFIX"),
        "endpoint_url": endpoint,
        "region_name": env.get_text("BACKUP_S3_REGION"),
        "access_key": env.get_secret("BACKUP_S3_ACCESS_KEY"),
        "secret_key": env.get_secret("BACKUP_S3_SECRET_KEY"),
    }
    return {name: value for name, value in options.items() if value}
