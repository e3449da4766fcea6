"""The pages that export and import spreadsheets: the upload, and one page for each import, from its plan to its end."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_safe

from homerack.spreadsheets import jobs, tasks
from homerack.spreadsheets.files import PROBLEMS, CannotStore, ImportFolder
from homerack.spreadsheets.models import SpreadsheetImport, State
from homerack.spreadsheets.rights import exportable, importable
from ops.admin.upload import LimitedUpload

MAX_UPLOAD = 50_000_000
"""Bytes of all files of a form."""
LISTED = 10
"""Imports of the user that the page shows."""


# --- The page with the upload -----------------------------------------------------------------------------------------
@csrf_exempt
def spreadsheets(request: HttpRequest) -> HttpResponseBase:
    """The upload handler must be set before the form is read, and so before the CSRF token is checked."""
    if not exportable(request.user):
        raise PermissionDenied
    if request.method != "POST":
        return show_form(request)
    if not importable(request.user):
        raise PermissionDenied
    handler = LimitedUpload(request, MAX_UPLOAD)
    request.upload_handlers = [handler]
    response: HttpResponseBase = csrf_protect(lambda checked: receive(checked, handler))(request)
    return response


def receive(request: HttpRequest, handler: LimitedUpload) -> HttpResponseBase:
    files = request.FILES.getlist("files")
    if handler.is_too_large:
        limit = f"{MAX_UPLOAD // 1_000_000} MB"
        return show_form(request, f"The files have more than {limit}. Nothing was kept.", command=True)
    if not files:
        return show_form(request, "Choose a file.")
    try:
        job = jobs.create(request.user, [(file.name or "", file.file) for file in files])  # type: ignore[arg-type, misc]
    except (CannotStore, jobs.CannotStart) as error:
        return show_form(request, str(error), command=isinstance(error, jobs.CannotStart))
    tasks.start(job)
    return HttpResponseRedirect(page_of(job))


def show_form(request: HttpRequest, mistake: str = "", *, command: bool = False) -> HttpResponse:
    may_import = importable(request.user)
    context = {
        "title": "Import and export",
        "mistake": mistake,
        "command": command,
        "limit": f"{MAX_UPLOAD // 1_000_000} MB",
        "exported": exportable(request.user),
        "imported": may_import,
        "imports": SpreadsheetImport.objects.filter(user=request.user.pk)[:LISTED] if may_import else (),
        "may_import_device_types": request.user.has_perms(
            ("inventory.add_brand", "inventory.add_devicemodel", "inventory.add_devicetype")
        ),
    }
    return show(request, "import_export.html", context, status=422 if mistake else 200)


# --- The page of an import --------------------------------------------------------------------------------------------
def page_of(job: SpreadsheetImport) -> str:
    return reverse("admin:spreadsheets_import", args=(job.pk,))


def find(request: HttpRequest, key: UUID) -> SpreadsheetImport:
    """An import of the user's own. Raises Http404."""
    job = SpreadsheetImport.objects.select_related("user").filter(pk=key, user=request.user.pk).first()
    if job is None:
        raise Http404
    if jobs.give_up_if_killed(job):
        job.refresh_from_db()
    return job


def spreadsheet_import(request: HttpRequest, key: UUID) -> HttpResponse:
    job = find(request, key)
    if request.method == "POST":
        return act(request, job)
    return show(request, "import.html", {"title": "Import spreadsheets", **context_of(job)})


def act(request: HttpRequest, job: SpreadsheetImport) -> HttpResponse:
    """What a button of the page does, and then the page again."""
    wanted = request.POST.get("do")
    if not importable(request.user):
        raise PermissionDenied
    if wanted == "import":
        if jobs.confirm(job):
            job.refresh_from_db()
            tasks.start(job)
    elif wanted == "again" and jobs.waits_long(job):
        tasks.start(job)
    elif wanted == "discard" and job.state in {State.PLANNED, State.FAILED}:
        jobs.delete(job)
        messages.success(request, "The files were deleted. Nothing was imported.")
        return HttpResponseRedirect(reverse("admin:spreadsheets"))
    return HttpResponseRedirect(page_of(job))


@require_safe
def import_status(request: HttpRequest, key: UUID) -> HttpResponse:
    """What the page asks for while a process works: a fragment of HTML."""
    return render(request, "spreadsheets/_status.html", context_of(find(request, key)))


@require_safe
def problems(request: HttpRequest, key: UUID) -> FileResponse:
    """All problems of the plan as CSV."""
    path = ImportFolder(find(request, key).pk).path / PROBLEMS
    try:
        file = path.open("rb")
    except OSError as error:
        raise Http404 from error
    return FileResponse(file, as_attachment=True, filename="problems.csv", content_type="text/csv; charset=utf-8")


def context_of(job: SpreadsheetImport) -> dict[str, Any]:
    progress = ImportFolder(job.pk).read_progress() if job.is_unfinished else {}
    done, total = progress.get("done", 0), progress.get("total", 0)
    return {
        "job": job,
        "preview": job.preview,
        "stage": progress.get("stage", ""),
        "done": done,
        "total": total,
        "percent": min(100, 100 * done // total) if total else None,
        "waits_long": jobs.waits_long(job),
        "kept_until": job.created_at + jobs.KEPT,
    }


def show(request: HttpRequest, name: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    frame = admin.site.each_context(request)
    return TemplateResponse(request, f"spreadsheets/{name}", {**frame, **context}, status=status)
