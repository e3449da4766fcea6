"""Uploaded files: refused, except on pages that set an upload handler of their own, which limits what is read."""

import io
from typing import Any

from django.core.exceptions import SuspiciousMultipartForm
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest


class RefuseFiles(FileUploadHandler):
    """Answers a form with a file with status 400 before reading the file: nothing is written to disk."""

    def new_file(self, field_name: str, *_args: Any, **_kwargs: Any) -> None:
        raise SuspiciousMultipartForm(f"This page accepts no files, but {field_name!r} is one.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002  # the base's signature
        return None

    def file_complete(self, file_size: int) -> None:  # noqa: ARG002
        return None


class FilesInMemory(FileUploadHandler):
    """Keeps the files of a form in memory: all together up to `limit` bytes, and nothing on disk.

    If there is more, `is_too_large` is set, and reading ends.
    """

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit, self.received, self.is_too_large = limit, 0, False
        self.content = io.BytesIO()

    def new_file(self, *description: Any, **options: Any) -> None:
        super().new_file(*description, **options)
        self.content = io.BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002  # the base's signature
        self.received += len(raw_data)
        if self.received > self.limit:
            self.is_too_large = True
            raise StopUpload(connection_reset=True)
        self.content.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        self.content.seek(0)
        return UploadedFile(self.content, self.file_name, self.content_type, file_size, self.charset)
