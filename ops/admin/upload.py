"""Upload of a backup file: streamed to disk up to a limit, and not trusted afterwards."""

import tempfile
from typing import IO, Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect

from ops import operations
from ops.admin.base import IndexAdmin, new_run, require_administrator, show_error
from ops.backups.sources import UNKNOWN_ORIGIN
from ops.conf import conf
from ops.errors import ArtifactInvalid, OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.utils.formatting import format_size


class LimitedUpload(FileUploadHandler):
    """Writes to a file without a name, which the system deletes with the process, up to `limit` bytes."""

    file: IO[bytes]

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit, self.received, self.is_too_large = limit, 0, False

    def new_file(self, *description: Any, **options: Any) -> None:
        super().new_file(*description, **options)
        self.file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115  # `UploadedFile` closes it

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002  # the base's signature
        self.received += len(raw_data)
        if self.received > self.limit:
            self.is_too_large = True
            raise StopUpload(connection_reset=True)
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        self.file.flush()
        return UploadedFile(self.file, self.file_name, self.content_type, file_size, self.charset)


def upload(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """The upload handler must be set before the form is read, and so before the CSRF token is checked."""
    require_administrator(request)
    handler = LimitedUpload(request, conf.OPS_UPLOAD_LIMIT)
    request.upload_handlers = [handler]
    response: HttpResponse = csrf_protect(lambda checked: _upload(admin, checked, handler))(request)
    return response


def _upload(admin: IndexAdmin[Backup], request: HttpRequest, handler: LimitedUpload) -> HttpResponse:
    if request.method == "POST":
        try:
            backup = import_file(request, request.FILES.get("file"), handler)
        except OpsError as error:
            show_error(request, error)
        else:
            messages.success(request, f"{backup.name} was added. It is unverified and not trusted.")
            return HttpResponseRedirect(reverse("admin:ops_backup_change", args=[backup.pk]))
    limit = format_size(conf.OPS_UPLOAD_LIMIT)
    title = "Upload a backup"
    return admin.render(request, "ops/admin/upload.html", title=title, limit=limit, unknown_origin=UNKNOWN_ORIGIN)


def import_file(request: HttpRequest, file: Any, handler: LimitedUpload) -> Backup:
    """Raises OpsError for a file that is not accepted; nothing of it is kept then."""
    if handler.is_too_large:
        raise ArtifactInvalid(
            f"The file is larger than {format_size(handler.limit)}. Nothing was kept.",
            "Copy it to the server, then run: manage.py restore_database --backup-file FILE --untrusted",
        )
    if not isinstance(file, UploadedFile):
        raise ArtifactInvalid("Choose a file.")
    run = new_run(request, Run.Kind.UPLOAD, named=file.name or "")
    result = operations.upload(get_context(), run, file=file.file)
    return Backup.objects.get(name=result.backup)
