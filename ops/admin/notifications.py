"""The page of notifications: the targets and the heartbeat monitor, tests of them, and their changes.

The addresses hold passwords and tokens. No page shows one: targets are named by a keyed hash in forms, and an address
that was tested before it is added is in the form as ciphertext for the key of this machine.
"""

import base64
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from ops import operations, stored_settings
from ops.admin.base import IndexAdmin, new_run, require_administrator, show_error
from ops.conf import conf
from ops.errors import OpsError, PreconditionFailed
from ops.models import Backup, Run
from ops.notifications import alerts
from ops.notifications.channels import Delivery, require_heartbeat, require_target, safe_label
from ops.runs.context import get_context
from ops.stored_settings import StoredSettingsIgnored

PAGE = "admin:ops_notifications"
SALT = "ops.admin.notifications"
SEALED_LASTS = dt.timedelta(hours=1)
LONGEST_URL = 2000
EXAMPLES = (
    ("ntfy", "ntfy://ntfy.sh/my-lab"),
    ("E-mail", "mailtos://user:password@smtp.example.org?to=ada@example.org"),
    ("Gotify", "gotifys://gotify.example.org/AbCdEfGhIjKlMnO"),
    ("Telegram", "tgram://123456789:AbCdEfGhIjKlMnOpQrStUvWxYz012345678/987654321/"),
    ("Discord", "discord://1234567890123456789/AbCdEfGhIjKlMnOpQrStUvWxYz"),
)
"""Services that many use, with what their addresses look like."""
NO_KEY = (
    "An address can only be stored encrypted, and this machine has no key. Set BACKUP_AGE_IDENTITY to a key that"
    " age-keygen makes, and restart the site. Without one, set NOTIFY_URLS and HEARTBEAT_URL."
)
TARGET, HEARTBEAT = "NOTIFY_URLS", "HEARTBEAT_URL"
CHECKS: Mapping[str, Callable[[str], None]] = {TARGET: require_target, HEARTBEAT: require_heartbeat}


@dataclass(frozen=True, kw_only=True)
class TargetPresenter:
    """What the page shows of a target, and the answer to the test that was just sent."""

    id: str
    label: str
    answer: Delivery | None = None


class AddressForm(forms.Form):
    """An address that is not shown again: as typed in `url`, or in `sealed` after a test of it. `kind` is a setting."""

    url = forms.CharField(required=False, max_length=LONGEST_URL)
    sealed = forms.CharField(required=False)

    def __init__(self, kind: str, request: HttpRequest | None = None) -> None:
        super().__init__(request.POST if request else None, auto_id=f"id_{kind.lower()}_%s")
        self.kind, self.request = kind, request
        hidden = {"class": "ops-input", "autocomplete": "new-password", "spellcheck": "false"}
        self.fields["url"].widget = forms.PasswordInput(attrs=hidden)
        self.tested: Delivery | None = None
        self.token = ""

    @sensitive_variables()
    def clean(self) -> dict[str, str]:
        given = self.cleaned_data.get("url") or self.unsealed()
        if not given and "url" not in self.errors:
            self.add_error("url", "Enter an address.")
        elif given:
            try:
                CHECKS[self.kind](given)
            except PreconditionFailed as error:
                self.add_error("url", error.text)
        return {"url": given}

    def unsealed(self) -> str:
        """The address that the same user has tested; '' if there is none, or it is too old."""
        try:
            state = signing.loads(self.cleaned_data.get("sealed", ""), salt=SALT, max_age=SEALED_LASTS)
            if self.request is None or state["user"] != self.request.user.get_username() or state["kind"] != self.kind:
                return ""
            return stored_settings.age_keys().decrypt(base64.b64decode(state["url"]), "The address").decode()
        except (signing.BadSignature, OpsError):
            return ""

    def seal(self, url: str, username: str) -> None:
        """Put `url` into the page as ciphertext, where this machine has a key."""
        try:
            ciphertext = base64.b64encode(stored_settings.age_keys().encrypt(url.encode())).decode()
        except OpsError:
            return
        self.token = signing.dumps({"url": ciphertext, "kind": self.kind, "user": username}, salt=SALT)


# --- The page ---------------------------------------------------------------------------------------------------------


@method_decorator(sensitive_post_parameters())
@sensitive_variables()
def page(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """For superusers. A test shows the answers on the same page, and a change redirects to it."""
    require_administrator(request)
    if request.method != "POST":
        if chosen := request.GET.get("remove", ""):
            return confirm_removal(admin, request, chosen)
        return show(admin, request)
    kind = HEARTBEAT if request.POST.get("kind") == HEARTBEAT else TARGET
    match request.POST.get("action"):
        case "test":
            return show(admin, request, answers=test(request))
        case "try":
            return try_address(admin, request, AddressForm(kind, request))
        case "add":
            return add(admin, request, AddressForm(kind, request))
        case "remove":
            return remove(request)
    return HttpResponseRedirect(reverse(PAGE))


@sensitive_variables()
def show(
    admin: IndexAdmin[Backup],
    request: HttpRequest,
    *,
    answers: Mapping[str, Delivery] | None = None,
    form: AddressForm | None = None,
) -> HttpResponse:
    secrets, problem = stored_settings.secrets_with_fault()
    targets, heartbeat = secrets[TARGET], secrets[HEARTBEAT]
    forms_by_kind = {kind: AddressForm(kind) for kind in CHECKS} | ({form.kind: form} if form else {})
    shown = present(targets.value, answers or {})
    return admin.render(
        request,
        "ops/admin/notifications.html",
        title="Notifications",
        targets=shown,
        targets_source=targets.where,
        targets_fixed=targets.is_fixed,
        heartbeat=next(iter(present([heartbeat.value] if heartbeat.value else [], answers or {})), None),
        heartbeat_source=heartbeat.where,
        heartbeat_fixed=heartbeat.is_fixed,
        target_form=forms_by_kind[TARGET],
        heartbeat_form=forms_by_kind[HEARTBEAT],
        examples=EXAMPLES,
        problem=problem,
        is_ignored=isinstance(problem, StoredSettingsIgnored),
        no_key=find_missing_key(),
        changes_url=changes_url(),
        opts=None,
    )


def present(urls: Sequence[str], answers: Mapping[str, Delivery]) -> list[TargetPresenter]:
    return [
        TargetPresenter(id=id_of(url), label=label, answer=answers.get(id_of(url)))
        for url, label in zip(urls, labels(urls), strict=True)
    ]


def labels(urls: Sequence[str]) -> list[str]:
    """A label for each; those of the same service and host are numbered."""
    found = [safe_label(url) for url in urls]
    return [
        f"{label} ({found[:index].count(label) + 1})" if found.count(label) > 1 else label
        for index, label in enumerate(found)
    ]


def id_of(url: str) -> str:
    """Names a target in a form: without the site's key, nobody finds the address that belongs to it."""
    return salted_hmac(SALT, url, algorithm="sha256").hexdigest()[:32]


def find_missing_key() -> str:
    """Why no target can be stored; '' if one can."""
    if not conf.BACKUP_AGE_IDENTITY:
        return NO_KEY
    try:
        stored_settings.age_keys()
    except OpsError as error:
        return explain(error)
    return ""


def changes_url() -> str:
    """The runs that have changed settings."""
    return f"{reverse('admin:ops_run_changelist')}?kind__exact={Run.Kind.SETTINGS}"


# --- Tests ------------------------------------------------------------------------------------------------------------


@sensitive_variables()
def test(request: HttpRequest) -> dict[str, Delivery]:
    """Send a test to the chosen target, or to all. Returns the answers by id."""
    chosen = request.POST.get("target", "")
    urls, ping = stored_settings.notify_urls(), stored_settings.heartbeat_url()
    if chosen:
        urls, ping = [url for url in urls if id_of(url) == chosen], ping if id_of(ping) == chosen else ""
    asked = [*urls, *([ping] if ping else [])]
    deliveries = alerts.send_test(request.user.get_username(), urls=urls, heartbeat=ping)
    return {id_of(url): delivery for url, delivery in zip(asked, deliveries, strict=True)}


@sensitive_variables()
def try_address(admin: IndexAdmin[Backup], request: HttpRequest, form: AddressForm) -> HttpResponse:
    """Send a test to an address that is not saved."""
    if form.is_valid():
        url, user = form.cleaned_data["url"], request.user.get_username()
        if form.kind == TARGET:
            (form.tested,) = alerts.send_test(user, urls=[url], heartbeat="")
        else:
            (form.tested,) = alerts.send_test(user, urls=[], heartbeat=url)
        form.seal(url, user)
    return show(admin, request, form=form)


# --- Changes ----------------------------------------------------------------------------------------------------------


@sensitive_variables()
def add(admin: IndexAdmin[Backup], request: HttpRequest, form: AddressForm) -> HttpResponse:
    if not form.is_valid():
        return show(admin, request, form=form)
    url = form.cleaned_data["url"]
    if form.kind == TARGET and url in stored_settings.notify_urls():
        form.add_error("url", "This target is in the list already. Nothing was saved.")
        return show(admin, request, form=form)
    change = operations.add_target if form.kind == TARGET else operations.change_heartbeat
    try:
        change(get_context(), new_run(request, Run.Kind.SETTINGS), url)
    except (OpsError, OSError) as error:
        form.add_error("url", explain(error))
        return show(admin, request, form=form)
    messages.success(request, f"Added: {safe_label(url)}.")
    return HttpResponseRedirect(reverse(PAGE))


def confirm_removal(admin: IndexAdmin[Backup], request: HttpRequest, chosen: str) -> HttpResponse:
    shown = [*present(stored_settings.notify_urls(), {}), *present([stored_settings.heartbeat_url()], {})]
    label = next((target.label for target in shown if target.id == chosen), "")
    if not label:
        messages.warning(request, "This target is not in the list any more.")
        return HttpResponseRedirect(reverse(PAGE))
    return admin.render(
        request,
        "ops/admin/remove_target.html",
        title=f"Remove {label}?",
        label=label,
        chosen=chosen,
        back=reverse(PAGE),
    )


@sensitive_variables()
def remove(request: HttpRequest) -> HttpResponse:
    chosen = request.POST.get("target", "")
    url = next((url for url in configured() if id_of(url) == chosen), "")
    if not url:
        messages.warning(request, "This target is not in the list any more.")
        return HttpResponseRedirect(reverse(PAGE))
    run = new_run(request, Run.Kind.SETTINGS)
    try:
        if url in stored_settings.notify_urls():
            operations.remove_target(get_context(), run, url)
        else:
            operations.change_heartbeat(get_context(), run, "")
    except OpsError as error:
        show_error(request, error)
    except OSError as error:
        messages.error(request, explain(error))
    else:
        messages.success(request, f"Removed: {safe_label(url)}.")
    return HttpResponseRedirect(reverse(PAGE))


def configured() -> list[str]:
    heartbeat = stored_settings.heartbeat_url()
    return [*stored_settings.notify_urls(), *([heartbeat] if heartbeat else [])]


def explain(error: OpsError | OSError) -> str:
    if isinstance(error, OpsError):
        return error.text
    return f"{conf.BACKUP_DIR} does not take the settings ({error.strerror}). Nothing was changed."
