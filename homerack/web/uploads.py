"""Uploaded files: refused, except on pages with an upload handler of their own (`ops.admin.upload`)."""

from typing import Any

from django.core.exceptions import SuspiciousMultipartForm
from django.core.files.uploadhandler import FileUploadHandler


class RefuseFiles(FileUploadHandler):
    """Answers a form with a file with status 400 before reading the file: nothing is written to disk."""

    def new_file(self, field_name: str, *_args: Any, **_kwargs: Any) -> None:
        raise SuspiciousMultipartForm(f"This page accepts no files, but {field_name!r} is one.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002  # the base's signature
        return None

    def file_complete(self, file_size: int) -> None:  # noqa: ARG002
        return None
