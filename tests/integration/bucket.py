"""An S3 server of its own: moto's, which keeps everything in memory and speaks the protocol over HTTP."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from tests.support.postgres import die_with_parent, free_port

KEYS = {"aws_access_key_id": "key-of-the-tests", "aws_secret_access_key": "secret-of-the-tests"}
NAME = "lab-backups"


@dataclass(frozen=True)
class S3:
    endpoint: str
    client: Any

    def variables(self, **changes: str) -> dict[str, str]:
        """What HomeRack's environment needs to keep its backups here."""
        return {
            "BACKUP_STORAGE": "s3",
            "BACKUP_S3_BUCKET": NAME,
            "BACKUP_S3_PREFIX": "rack",
            "BACKUP_S3_ENDPOINT": self.endpoint,
            "BACKUP_S3_REGION": "us-east-1",
            "BACKUP_S3_ACCESS_KEY": KEYS["aws_access_key_id"],
            "BACKUP_S3_SECRET_KEY": KEYS["aws_secret_access_key"],
        } | changes

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


@contextmanager
def s3_server() -> Iterator[S3]:
    """An empty bucket, while the block lasts."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call; nothing else can tell a child to follow
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **KEYS)
        wait_for_bucket(client, process)
        yield S3(endpoint, client)
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for_bucket(client: Any, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=NAME)
        except BotoCoreError:
            assert time.monotonic() < deadline, "the S3 server did not start"
            assert process.poll() is None, "the S3 server has ended"
            time.sleep(0.2)
        else:
            return
