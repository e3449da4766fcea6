"""Files in forms: no page takes any, unless it brings a handler of its own (`ops.admin.upload` does)."""

from typing import Any

from django.core.exceptions import SuspiciousMultipartForm
from django.core.files.uploadhandler import FileUploadHandler


class RefuseFiles(FileUploadHandler):
    """Answers a form with a file by 400 before it reads the file: nothing is written to the temporary directory."""

    def new_file(self, field_name: str, *_args: Any, **_kwargs: Any) -> None:
        raise SuspiciousMultipartForm(f"This page takes no files; {field_name!r} is one.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:  # noqa: ARG002  # the base's signature
        return None

    def file_complete(self, file_size: int) -> None:  # noqa: ARG002
        return None
