"""An S3 server of its own: moto's, which keeps everything in memory and speaks the protocol over HTTP."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError
from botocore.loaders import JSONFileLoader

from tests.support.postgres import die_with_parent, free_port

KEYS = {"aws_access_key_id": "key-of-the-tests", "aws_secret_access_key": "secret-of-the-tests"}
NAME = "lab-backups"
numbers = itertools.count()
load_file = JSONFileLoader.load_file


@cache
def load_once(path: str) -> Any:
    """What a file of botocore describes. Each session would read megabytes of JSON again."""
    return load_file(JSONFileLoader(), path)


JSONFileLoader.load_file = lambda _self, path: load_once(path)


@dataclass
class S3:
    port: int
    client: Any
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, **changes: Any) -> dict[str, Any]:
        """The keyword arguments of S3BackupStorage."""
        return {
            "bucket_name": NAME,
            "location": "rack",
            "endpoint_url": self.endpoint,
            "region_name": "us-east-1",
            "access_key": KEYS["aws_access_key_id"],
            "secret_key": KEYS["aws_secret_access_key"],
        } | changes

    def variables(self) -> dict[str, str]:
        """What HomeRack's environment needs to copy its backups to the location `bucket`."""
        return {
            "BACKUP_LOCATIONS": "bucket",
            "BACKUP_LOCATION_BUCKET": f"s3://{NAME}/rack",
            "BACKUP_LOCATION_BUCKET_ENCRYPTED": "false",
            "BACKUP_LOCATION_BUCKET_ENDPOINT": self.endpoint,
            "BACKUP_LOCATION_BUCKET_REGION": "us-east-1",
            "BACKUP_LOCATION_BUCKET_ACCESS_KEY": KEYS["aws_access_key_id"],
            "BACKUP_LOCATION_BUCKET_SECRET_KEY": KEYS["aws_secret_access_key"],
        }

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=NAME).get("Contents", [])
        return [entry["Key"] for entry in found]

    def empty(self) -> None:
        for key in self.names():
            self.client.delete_object(Bucket=NAME, Key=key)
        for upload in self.client.list_multipart_uploads(Bucket=NAME).get("Uploads", []):
            self.client.abort_multipart_upload(Bucket=NAME, Key=upload["Key"], UploadId=upload["UploadId"])

    def begun_uploads(self) -> list[str]:
        return [entry["Key"] for entry in self.client.list_multipart_uploads(Bucket=NAME).get("Uploads", [])]

    def make_bucket(self, *, versioned: bool = False, lockable: bool = False) -> str:
        """The name of a new bucket, which stays until the server ends. One with object lock is versioned."""
        name = f"bucket-{next(numbers)}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lockable)
        if versioned:
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def start(self) -> None:
        """Start the server, always on the same port, with the empty bucket NAME."""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.create_bucket(Bucket=NAME)
            except BotoCoreError:
                assert time.monotonic() < deadline, "the S3 server did not start"
                assert self.process.poll() is None, "the S3 server has ended"
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """Kill the server, which forgets everything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=20)
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP: the port accepts, nobody answers."""
        assert self.process is not None, "the server is not running"
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None, "the server is not running"
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server with an empty bucket, while the block lasts."""
    port = free_port()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **KEYS)
    server = S3(port, client)
    try:
        server.start()
        yield server
    finally:
        server.stop()
