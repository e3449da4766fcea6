"""Upload of a backup file: streamed to disk up to a limit, and not trusted afterwards."""

from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect

from ops import operations
from ops.admin.base import IndexAdmin, new_run, require_administrator, show_error
from ops.conf import conf
from ops.errors import ArtifactInvalid, OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.utils.formatting import format_size


class LimitedUpload(TemporaryFileUploadHandler):
    """Writes to a temporary file, and stops reading after `limit` bytes."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit, self.received, self.is_too_large = limit, 0, False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.received += len(raw_data)
        if self.received > self.limit:
            self.is_too_large = True
            raise StopUpload(connection_reset=True)
        super().receive_data_chunk(raw_data, start)


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
    return admin.render(request, "ops/admin/upload.html", title="Upload a backup", limit=limit)


def import_file(request: HttpRequest, file: Any, handler: LimitedUpload) -> Backup:
    """Raises OpsError for a file that is not accepted; nothing of it is kept then."""
    if handler.is_too_large:
        raise ArtifactInvalid(
            f"The file is larger than {format_size(handler.limit)}. Nothing was kept.",
            "Copy it to the server, then run: manage.py restore_database --backup-file FILE --untrusted",
        )
    if not isinstance(file, UploadedFile) or not isinstance(file, TemporaryUploadedFile) or not file.size:
        raise ArtifactInvalid("Choose a file that is not empty.")
    run = new_run(request, Run.Kind.UPLOAD, file=file.temporary_file_path(), named=file.name or "")
    result = operations.upload(get_context(), run)
    return Backup.objects.get(name=result.backup)
