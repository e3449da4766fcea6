"""The page of schedules: when backups and other runs start, their last runs, and a button that starts each now."""

from collections.abc import Mapping
from functools import partial

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse

from ops import operations, stored_settings, tasks
from ops.admin.base import (
    IndexAdmin,
    enqueue_run,
    has_worker,
    missing_worker,
    new_run,
    require_administrator,
    show_error,
)
from ops.admin.dashboard.status import Checks, scheduler_state, start_scheduler_checks
from ops.admin.schedule_card import (
    DROP_EXPIRED,
    OtherSchedule,
    ScheduleCard,
    command_of,
    last_runs,
    warnings_about,
)
from ops.admin.schedule_form import TimingForm, focus_first_mistake, initial_of
from ops.conf import conf
from ops.errors import OpsError, PreconditionFailed
from ops.models import Run
from ops.runs import descriptions
from ops.runs.authorization import User, may_start
from ops.runs.context import get_context
from ops.runs.schedule_rows import rows_by_name
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN, BY_TASK, BuiltIn, Timing
from ops.stored_settings import StoredSettings, StoredSettingsIgnored
from ops.utils import clock
from ops.utils.formatting import format_local
from ops.utils.single_flight import SingleFlight

PAGE = "admin:ops_schedules"


# --- The page -----------------------------------------------------------------------------------------------------
def overview(admin: IndexAdmin[Run], request: HttpRequest) -> HttpResponse:
    """For users who may view runs. A POST saves the times, and is for superusers."""
    require_viewer(admin, request)
    data = None
    if request.method == "POST":
        require_administrator(request)
        data = with_default(request.POST)
    stored, fault = stored_settings.read_with_fault()
    forms = make_forms(stored, data) if request.user.is_superuser else {}
    if data is not None and all(form.is_valid() for form in forms.values()):
        if save(request, forms, data):
            return HttpResponseRedirect(reverse(PAGE))
    else:
        focus_first_mistake(forms.values())
    return render(admin, request, stored, fault, forms)


def require_viewer(admin: IndexAdmin[Run], request: HttpRequest) -> None:
    if not admin.has_view_permission(request):
        raise PermissionDenied


def timing_of(schedule: BuiltIn, stored: StoredSettings) -> Timing | None:
    return stored.schedules.get(schedule.task, schedule.default)


def make_forms(stored: StoredSettings, data: QueryDict | None) -> dict[str, TimingForm]:
    """A form for each schedule that can be changed, by its task."""
    return {
        schedule.task: TimingForm(schedule, timing_of(schedule, stored) or schedule.default, data)
        for schedule in BUILT_IN
        if schedule.default
    }


def back_to_default(data: QueryDict) -> BuiltIn | None:
    """The schedule whose button *Back to the default* was pressed."""
    schedule = BY_TASK.get(data.get("default", ""))
    return schedule if schedule and schedule.default else None


def with_default(data: QueryDict) -> QueryDict:
    """What was entered, with the default of the schedule that goes back to it."""
    schedule = back_to_default(data)
    if schedule is None or schedule.default is None:
        return data
    entered = data.copy()
    for name, value in initial_of(schedule.default).items():
        entered.setlist(f"{schedule.short_name}-{name}", value if isinstance(value, list) else [value])
    return entered


def render(
    admin: IndexAdmin[Run],
    request: HttpRequest,
    stored: StoredSettings,
    fault: StoredSettingsIgnored | None,
    forms: Mapping[str, TimingForm],
) -> HttpResponse:
    checks = start_scheduler_checks()
    cards, others = make_cards(request.user, stored, forms, is_known=fault is None)
    return admin.render(
        request,
        "ops/admin/schedules.html",
        title="Schedules",
        opts=None,
        show_back_button=False,
        cards=cards,
        others=others,
        may_change=bool(forms),
        mistakes=[mistake for form in forms.values() for mistake in form.mistakes()],
        fault=fault,
        warnings=list(warnings_about(cards, others, stored_settings.max_age_hours())),
        obstacle=obstacle(checks),
        now=format_local(clock.now())[-5:],
    )


def make_cards(
    user: User, stored: StoredSettings, forms: Mapping[str, TimingForm], *, is_known: bool
) -> tuple[list[ScheduleCard], list[OtherSchedule]]:
    """Those of ops, and those that ops did not make. `is_known`: `stored` is what counts."""
    rows, last = (rows_by_name("default") if timetable.is_installed() else {}), last_runs()
    cards = [
        ScheduleCard(
            schedule=schedule,
            timing=timing_of(schedule, stored),
            row=rows.pop(schedule.name, None),
            last=last.get(schedule.task),
            form=forms.get(schedule.task),
            may_run=may_run(user, schedule),
            is_known=is_known,
        )
        for schedule in BUILT_IN
    ]
    return cards, [OtherSchedule(row=row) for row in rows.values()]


def obstacle(checks: Checks) -> str:
    """Why nothing starts by schedule, or ''."""
    if not timetable.is_installed():
        return "django-celery-beat is not installed"
    return str(scheduler_state(checks))


def save(request: HttpRequest, forms: Mapping[str, TimingForm], data: QueryDict) -> bool:
    """Store what was changed, and show what it was before; or show the error, and return False."""
    timings = {task: form.timing() for task, form in forms.items() if form.has_changed()}
    back = back_to_default(data)
    if back and back.default:  # also if another user has changed it since the page was shown
        timings[back.task] = back.default
    try:
        result = operations.change_schedules(get_context(), new_run(request, Run.Kind.SETTINGS), timings)
    except OpsError as error:
        show_error(request, error)
        return False
    except OSError as error:
        messages.error(request, f"The times were not saved: {error.strerror or type(error).__name__} (BACKUP_DIR).")
        return False
    if result.changes:
        for sentence in descriptions.describe(result):
            messages.success(request, f"Saved. {sentence}")
    else:
        messages.info(request, "Nothing was changed.")
    return True


# --- Run now ------------------------------------------------------------------------------------------------------
def may_run(user: User, schedule: BuiltIn) -> bool:
    """Whether the user may start all kinds of runs that the schedule starts."""
    return bool(schedule.kinds) and all(may_start(user, kind) for kind in schedule.kinds)


def run_now(admin: IndexAdmin[Run], request: HttpRequest) -> HttpResponse:
    """Do what the schedule does, and go to the page of the run, if there is one from the beginning."""
    require_viewer(admin, request)
    schedule = BY_TASK.get(request.POST.get("task", ""))
    if schedule is None:
        raise Http404("There is no such schedule.")
    if not may_run(request.user, schedule):
        raise PermissionDenied
    try:
        require_worker(schedule)
        if reason := nothing_to_do(schedule):
            messages.warning(request, f"{reason} Nothing was started.")
            return HttpResponseRedirect(reverse(PAGE))
        if schedule.task != DROP_EXPIRED:
            arguments = {"farthest": True} if Run.Kind.RESTORE_TEST in schedule.kinds else {}
            return enqueue_run(request, schedule.kinds[0], back_to=reverse(PAGE), **arguments)
        send_drop_expired(schedule)
        messages.success(request, "A worker drops what has expired. The list of runs shows it in a few seconds.")
    except OpsError as error:
        show_error(request, error)
    return HttpResponseRedirect(reverse(PAGE))


def require_worker(schedule: BuiltIn) -> None:
    """Raises PreconditionFailed with the command that does the same."""
    if not has_worker():
        command = command_of(schedule)
        hint = f"Or run: {command}" if command else ""
        raise PreconditionFailed(f"{missing_worker()}. Nothing was started.", hint)


def nothing_to_do(schedule: BuiltIn) -> str:
    """Why a start would do nothing, or ''."""
    if Run.Kind.RESTORE_TEST in schedule.kinds and operations.newest_verified(get_context()) is None:
        return "There is no verified backup to test. Make one first: Back up."
    if Run.Kind.COPY in schedule.kinds and not conf.BACKUP_LOCATIONS:
        return "There is no other storage location to copy to."
    if schedule.task == DROP_EXPIRED and not (
        operations.find_expired_previous(get_context()) or operations.files_expired()
    ):
        return "No previous database and no SQLite file has expired."
    return ""


def send_drop_expired(schedule: BuiltIn) -> None:
    """Send the task itself: it looks again at what has expired when it starts, and drops nothing else.

    Raises PreconditionFailed if Redis does not answer.
    """
    tasks.require_redis()
    send = partial(
        tasks.drop_expired_previous.apply_async, expires=schedule.expire_seconds, retry_policy=tasks.RETRY_ONCE
    )
    if isinstance(SingleFlight().run("drop expired", send).result(within=tasks.PUBLISH_TIMEOUT), BaseException):
        raise PreconditionFailed(
            "Redis no longer answers. Nothing was started.", "Start Redis (REDIS_URL) and try again."
        )
