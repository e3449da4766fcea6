"""Upload of a backup file: written to the disk while it arrives, up to a limit, and not trusted afterwards."""

from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect

from ops import operations
from ops.admin.base import IndexAdmin, require_administrator, show_error
from ops.admin.starting import new_run
from ops.conf import conf
from ops.errors import ArtifactInvalid, OpsError
from ops.models import Backup, Run
from ops.runs.context import get_context
from ops.utils.formatting import format_size


class LimitedUpload(TemporaryFileUploadHandler):
    """Writes to a temporary file, and stops reading where more arrives than `limit` bytes."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit, self.arrived, self.is_too_large = limit, 0, False

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.arrived += len(raw_data)
        if self.arrived > self.limit:
            self.is_too_large = True
            raise StopUpload(connection_reset=True)
        super().receive_data_chunk(raw_data, start)


def upload(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """Its handler has to be set before anybody reads the form, hence the check of the token comes after that."""
    require_administrator(request)
    handler = LimitedUpload(request, conf.OPS_UPLOAD_LIMIT)
    request.upload_handlers = [handler]
    answer: HttpResponse = csrf_protect(lambda checked: received(admin, checked, handler))(request)
    return answer


def received(admin: IndexAdmin[Backup], request: HttpRequest, handler: LimitedUpload) -> HttpResponse:
    if request.method == "POST":
        try:
            backup = import_file(request, request.FILES.get("file"), handler)
        except OpsError as error:
            show_error(request, error)
        else:
            messages.success(request, f"{backup.name} was added. It is unverified and not trusted.")
            return HttpResponseRedirect(reverse("admin:ops_backup_change", args=[backup.pk]))
    limit = format_size(conf.OPS_UPLOAD_LIMIT)
    return admin.page(request, "ops/console/upload.html", title="Upload a backup", limit=limit)


def import_file(request: HttpRequest, file: Any, handler: LimitedUpload) -> Backup:
    """Raises OpsError for what is not to be kept."""
    if handler.is_too_large:
        raise ArtifactInvalid(
            f"The file is larger than {format_size(handler.limit)}. Nothing was kept.",
            "Copy it to the server and name it: manage.py restore_database --backup-file FILE --untrusted",
        )
    if not isinstance(file, UploadedFile) or not isinstance(file, TemporaryUploadedFile) or not file.size:
        raise ArtifactInvalid("Choose a file first. It must not be empty.")
    run = new_run(request, Run.Kind.UPLOAD, file=file.temporary_file_path(), named=file.name or "")
    result = operations.upload(get_context(), run)
    return Backup.objects.get(name=result.backup)
