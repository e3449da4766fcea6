"""Backups in S3 or a compatible server. Needs django-storages[s3]; only a setting names this module."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage

from ops.backups.storage.entries import SILENCE, Entry, Version, setting
from ops.backups.storage.local import split_name
from ops.errors import PreconditionFailed
from ops.utils.redaction import redact

PART = 32 * 2**20
"""Bytes in each part of an upload, and of memory for it. S3 takes 10,000 parts, so a backup may have 320 GB."""
MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion"})
UNLOCKABLE = frozenset({"ObjectLockConfigurationNotFoundError", "NotImplemented"})


class S3BackupStorage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """A bucket, with django-storages' OPTIONS. An object exists when its upload is complete.

    A killed upload leaves parts that no list shows: set a lifecycle rule that aborts incomplete multipart uploads.

    Besides: `name`, that of the storage location, for messages; `lock_days`, for which nobody can delete or overwrite a
    new object; `show_deleted`, to see the newest content of objects that were deleted in a versioned bucket.
    """

    def get_default_settings(self) -> dict[str, Any]:
        """Those of django-storages, with changes for backups."""
        defaults: dict[str, Any] = super().get_default_settings()
        return defaults | {
            "name": "",
            "lock_days": 0,
            "show_deleted": False,
            # In the caller's thread, so that an error of the dump, or Ctrl-C, ends the upload and is raised there.
            "transfer_config": TransferConfig(multipart_chunksize=PART, multipart_threshold=PART, use_threads=False),
            # Otherwise .gz becomes a Content-Encoding, and programs decompress the file without notice.
            "object_parameters": {"ContentType": "application/octet-stream"},
            "client_config": Config(
                connect_timeout=min(SILENCE, 15),
                read_timeout=SILENCE,
                retries={"mode": "standard", "max_attempts": 5},
                # Many compatible servers support neither the newer checksums nor bucket names as host names.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        }

    def _create_session(self) -> Any:
        """S3Storage makes its clients from it, one for each thread."""
        session = super()._create_session()
        session.events.register_first("needs-retry.s3", give_up_on_silence)
        return session

    @property
    def display_location(self) -> str:
        """Bucket and prefix, for messages."""
        return f"s3://{self.bucket_name}/{self.location}".rstrip("/")

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def key(self, name: str) -> str:
        """The object's name in the bucket."""
        return str(self._normalize_name("/".join(split_name(name))))

    # --- Django's interface -------------------------------------------------------------------------------------

    def get_available_name(self, name: str, max_length: int | None = None) -> str:  # noqa: ARG002  # Django's interface
        """The name itself: an existing object is an error."""
        return name

    def _open(self, name: str, mode: str = "rb") -> File:  # type: ignore[type-arg]  # generic for the checker only
        """A stream of the object. S3Storage would read it into memory first."""
        if mode != "rb":
            raise ValueError(f"Backups are read with mode 'rb', not {mode!r}.")
        return self.open_version(name, self.newest_version(name).id if self.show_deleted else "")

    def _save(self, name: str, content: Any) -> str:
        if self.exists(name):
            raise PreconditionFailed(f"{self.display_location}/{name} exists already.", "Nothing was changed.")
        self.replace(name, content)
        return name

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        """In bytes. Raises FileNotFoundError."""
        return self.newest_version(name).size if self.show_deleted else int(self.head(name)["ContentLength"])

    def delete(self, name: str) -> None:
        """In a versioned bucket, S3 hides the object behind a delete marker. No error where there is no object.

        A locked object is refused: it would stay, and only its name would be gone.
        """
        with contextlib.suppress(FileNotFoundError):
            found = self.head(name)
            until, now = found.get("ObjectLockRetainUntilDate"), date_of(found)
            if until and until > now:
                raise PreconditionFailed(
                    f"{self.display_location}/{name} is locked until {until:%Y-%m-%d %H:%M} UTC and was not deleted.",
                    "The bucket's object lock ends by itself. Until then nobody can delete it.",
                )
            with self.translate_errors(name):
                self.client.delete_object(Bucket=self.bucket_name, Key=self.key(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Names of folders and of objects."""
        folders, entries = self.listing(path)
        return sorted(folders), sorted(entries)

    # --- What storage locations have besides --------------------------------------------------------------------

    def replace(self, name: str, content: Any) -> None:
        """As `save`, but overwrites. Readers see the old or the new content."""
        with self.translate_errors(name):
            super()._save("/".join(split_name(name)), content)

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """The objects in `folder`, by name."""
        return self.listing(folder)[1]

    def free_bytes(self) -> int | None:
        """None: a bucket has no size."""
        return None

    def locked_until(self, name: str) -> dt.datetime | None:
        """The end of the object's lock, after which it can be deleted; None without one. Raises FileNotFoundError."""
        until: dt.datetime | None = self.head(name).get("ObjectLockRetainUntilDate")
        return until and until.astimezone(dt.UTC)

    def versions(self, name: str) -> list[Version]:
        """All contents of the object in a versioned bucket, the newest first, also of one that was deleted."""
        key = self.key(name)
        with self.translate_errors(name):
            pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket_name, Prefix=key)
            found = [item for page in pages for item in page.get("Versions", ()) if item["Key"] == key]
        return [Version(item["VersionId"], item["Size"], item["LastModified"].astimezone(dt.UTC)) for item in found]

    def versions_in(self, folder: str = "") -> dict[str, list[Version]]:
        """`versions` of all objects in `folder`, by name."""
        prefix = self.prefix(folder)
        found: dict[str, list[Version]] = {}
        with self.translate_errors(folder):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket_name, Prefix=prefix, Delimiter="/"
            )
            for item in (item for page in pages for item in page.get("Versions", ())):
                version = Version(item["VersionId"], item["Size"], item["LastModified"].astimezone(dt.UTC))
                found.setdefault(item["Key"].removeprefix(prefix), []).append(version)
        return found

    def newest_version(self, name: str) -> Version:
        versions = self.versions(name)
        if not versions:
            raise FileNotFoundError(name)
        return versions[0]

    def open_version(self, name: str, version: str) -> File:  # type: ignore[type-arg]  # generic for the checker only
        """As `open`, for the version with this id; '' is the one that is not deleted."""
        chosen = {"VersionId": version} if version else {}
        with self.translate_errors(name):
            found = self.client.get_object(Bucket=self.bucket_name, Key=self.key(name), **chosen)
        return StreamingDownload(found["Body"], name, self)

    # --- Requests -----------------------------------------------------------------------------------------------

    def head(self, name: str) -> dict[str, Any]:
        with self.translate_errors(name):
            found: dict[str, Any] = self.client.head_object(Bucket=self.bucket_name, Key=self.key(name))
        return found

    def listing(self, folder: str) -> tuple[set[str], dict[str, Entry]]:
        """The names of folders in `folder`, and the objects; with `show_deleted`, their newest versions."""
        operation, kind = ("list_object_versions", "Versions") if self.show_deleted else ("list_objects_v2", "Contents")
        prefix = self.prefix(folder)
        folders: set[str] = set()
        entries: dict[str, Entry] = {}
        with self.translate_errors(folder):
            pages = self.client.get_paginator(operation).paginate(Bucket=self.bucket_name, Prefix=prefix, Delimiter="/")
            for page in pages:
                folders.update(found["Prefix"].removeprefix(prefix)[:-1] for found in page.get("CommonPrefixes", ()))
                for found in page.get(kind, ()):
                    if name := found["Key"].removeprefix(prefix):
                        # The newest version comes first.
                        entries.setdefault(name, Entry(found["Size"], found["LastModified"].astimezone(dt.UTC)))
        return folders, entries

    def prefix(self, folder: str) -> str:
        """What the names of objects in `folder` begin with."""
        inner = [] if folder in {"", "."} else split_name(folder)
        return "".join(f"{part}/" for part in [*filter(None, [self.location.strip("/")]), *inner])

    def get_object_parameters(self, name: str) -> dict[str, Any]:
        """Those of a new object: with `lock_days`, its lock.

        COMPLIANCE, because a key that may bypass GOVERNANCE could lie on the machine. The date is counted by the
        server's clock: nobody can shorten a lock that a wrong clock has made too long.
        """
        parameters: dict[str, Any] = super().get_object_parameters(name)
        if not self.lock_days:
            return parameters
        now = date_of(self.lock_configuration())
        return parameters | {
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": now + dt.timedelta(days=self.lock_days),
            # S3 takes no locked object without a checksum.
            "ChecksumAlgorithm": "SHA256",
        }

    def lock_configuration(self) -> dict[str, Any]:
        """Raises PreconditionFailed where the bucket has no object lock, before anything is written."""
        try:
            found: dict[str, Any] = self.client.get_object_lock_configuration(Bucket=self.bucket_name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in UNLOCKABLE:
                raise
            found = {}
        if found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
            option = setting(self.name, "LOCK_DAYS")
            raise PreconditionFailed(
                f"{self.display_location} has no object lock, but {option} is {self.lock_days}.",
                f"Use a bucket that was made with object lock, or remove {option}.",
            )
        return found

    @contextlib.contextmanager
    def translate_errors(self, name: str) -> Iterator[None]:
        """Raise FileNotFoundError for a missing object, PreconditionFailed for other errors of S3."""
        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error) as error:
            code = (getattr(error, "response", None) or {}).get("Error", {}).get("Code", "")
            if code in MISSING:
                raise FileNotFoundError(name) from error
            reason = f"no answer for {SILENCE} seconds" if is_silence(error) else redact(str(error)).rstrip(".")
            raise PreconditionFailed(
                f"{self.display_location} is unreachable ({name or 'its list'}): {reason}.",
                f"Check the settings {setting(self.name, '…')} and the permissions of their key.",
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


def give_up_on_silence(caught_exception: BaseException | None = None, **_options: Any) -> None:
    """Raise a timeout instead of trying again, which would take a minute. botocore asks this after each request."""
    if caught_exception and is_silence(caught_exception):
        raise caught_exception


def is_silence(error: BaseException) -> bool:
    """Whether an error of botocore began with a timeout."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, TimeoutError):
        cause = cause.__context__
    return cause is not None


def date_of(response: Mapping[str, Any]) -> dt.datetime:
    """When the server answered, by its own clock."""
    return parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
