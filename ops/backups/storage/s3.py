"""Backups in S3 or a compatible server. Needs django-storages[s3]; only a setting names this module."""

import contextlib
from collections.abc import Iterator
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage

from ops.errors import PreconditionFailed
from ops.utils.redaction import redact

PART = 32 * 2**20
"""Bytes in each part of an upload, and of memory for it. S3 takes 10,000 parts, so a backup may have 320 GB."""
MISSING = frozenset({"404", "NoSuchKey"})


class S3BackupStorage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """A bucket, with django-storages' OPTIONS. An object exists when its upload is complete.

    A killed upload leaves parts that no list shows: set a lifecycle rule that aborts incomplete multipart uploads.
    """

    def get_default_settings(self) -> dict[str, Any]:
        """Those of django-storages, with changes for backups."""
        defaults: dict[str, Any] = super().get_default_settings()
        return defaults | {
            # In the caller's thread, so that an error of the dump, or Ctrl-C, ends the upload and is raised there.
            "transfer_config": TransferConfig(multipart_chunksize=PART, multipart_threshold=PART, use_threads=False),
            # Otherwise .gz becomes a Content-Encoding, and programs decompress the file without notice.
            "object_parameters": {"ContentType": "application/octet-stream"},
            "client_config": Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 5},
                # Many compatible servers support neither the newer checksums nor bucket names as host names.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        }

    @property
    def display_location(self) -> str:
        """Bucket and prefix, for messages."""
        return f"s3://{self.bucket_name}/{self.location}".rstrip("/")

    def _open(self, name: str, mode: str = "rb") -> File:  # type: ignore[type-arg]  # generic for the checker only
        """A stream of the object. S3Storage would read it into memory first."""
        if mode != "rb":
            raise ValueError("Backups are opened for reading only.")
        with self.translate_errors(name):
            return StreamingDownload(self.bucket.Object(self._normalize_name(name)).get()["Body"], name, self)

    def _save(self, name: str, content: Any) -> str:
        with self.translate_errors(name):
            return str(super()._save(name, content))

    def exists(self, name: str) -> bool:
        """See django.core.files.storage.Storage."""
        with self.translate_errors(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        """In bytes. Raises FileNotFoundError."""
        with self.translate_errors(name):
            return int(super().size(name))

    def delete(self, name: str) -> None:
        """See django.core.files.storage.Storage."""
        with self.translate_errors(name):
            super().delete(name)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """See django.core.files.storage.Storage."""
        with self.translate_errors(path):
            folders, files = super().listdir(path)
        return folders, files

    @contextlib.contextmanager
    def translate_errors(self, name: str) -> Iterator[None]:
        """Raise FileNotFoundError for a missing object, PreconditionFailed for other errors of S3."""
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error) as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in MISSING:
                raise FileNotFoundError(name) from error
            raise PreconditionFailed(
                f"{self.display_location} is unreachable ({name or 'its list'}): {redact(str(error)).rstrip('.')}.",
                "Check the settings BACKUP_S3_… and the permissions of their key.",
            ) from error


class StreamingDownload(File):  # type: ignore[type-arg]  # generic for the checker only
    """An object that is downloaded while it is read, once and from front to back."""

    def __init__(self, body: Any, name: str, bucket: S3BackupStorage) -> None:
        super().__init__(body, name)
        self.body, self.bucket = body, bucket

    def read(self, size: int | None = None) -> bytes:
        """At most `size` bytes; all without `size`."""
        with self.bucket.translate_errors(str(self.name)):
            return bytes(self.body.read(size))
