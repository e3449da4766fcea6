"""The pages of recovery kits: which there are, a new one, the proof that one is at hand, and its withdrawal."""

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.debug import sensitive_variables

from ops import operations
from ops.admin.base import IndexAdmin, new_run, require_start, show_error
from ops.admin.forms import PasswordConfirmation
from ops.backups.encryption import new_identity, recipient_of
from ops.backups.recovery_kit import RecoveryKit, new_challenge, normalized, opened_by
from ops.conf import conf
from ops.errors import OpsError
from ops.health.recovery import encrypts, read_concerns, read_kits, recipients_by_backup
from ops.keys import recovery_kits_from_settings
from ops.models import Backup, Run
from ops.operations.recovery_kit_sheet import new_sheet, require_own_signing_key
from ops.runs.context import get_context
from ops.utils import clock
from ops.utils.formatting import join_names, pluralize

PAGE = "admin:ops_backup_recovery_kits"
SALT = "ops.admin.recovery_kits"
CHALLENGE_LASTS = dt.timedelta(days=1)
"""The key may be far from this machine."""
NAMED_BACKUPS = 3
SHOWN = "This kit was shown already, and is not shown again. If you have not printed it, withdraw it."
OLD = "This challenge is not valid any more: it is older than a day, or of another user. Begin again."


@dataclass(frozen=True, kw_only=True)
class KeyPresenter:
    """What the page shows of a key: which of the encrypted `backups` it opens."""

    recipient: str
    backups: Mapping[str, tuple[str, ...]]

    @property
    def opens(self) -> str:
        opened = opened_by(self.recipient, self.backups)
        return f"{len(opened)} of {pluralize(len(self.backups), 'encrypted backup')}"

    @property
    def not_opened(self) -> str:
        names = [name for name, recipients in self.backups.items() if self.recipient not in recipients]
        return join_names(names, NAMED_BACKUPS)


@dataclass(frozen=True, kw_only=True)
class KitPresenter(KeyPresenter):
    """What the page shows of a kit."""

    kit: RecoveryKit
    is_due: bool


# --- The page ---------------------------------------------------------------------------------------------------------
def overview(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    require_start(request, Run.Kind.RECOVERY_KIT)
    return show(admin, request, PasswordConfirmation(request))


def show(admin: IndexAdmin[Backup], request: HttpRequest, form: PasswordConfirmation) -> HttpResponse:
    """The kits, the other keys, and the form for a new kit."""
    try:
        kits, own = read_kits(), [recipient_of(identity) for identity in conf.BACKUP_AGE_IDENTITY]
        encrypted = encrypts()
    except OpsError:
        kits, own, encrypted = (), [], True  # `read_concerns` has the reason
    backups = recipients_by_backup()
    now = clock.now()
    return admin.render(
        request,
        "ops/admin/recovery_kits.html",
        title="Recovery kits",
        concerns=read_concerns(),
        kits=[
            KitPresenter(recipient=kit.recipient, backups=backups, kit=kit, is_due=kit.needs_proof(now))
            for kit in sorted(kits, key=lambda kit: (not kit.is_current, -kit.created_at.timestamp()))
        ],
        machine=[KeyPresenter(recipient=recipient, backups=backups) for recipient in own],
        persons=[KeyPresenter(recipient=recipient, backups=backups) for recipient in conf.BACKUP_AGE_RECIPIENTS],
        encrypts=encrypted,
        form=form,
        new_run=uuid.uuid4(),
        refusal=why_refused(),
    )


def why_refused() -> OpsError | None:
    """Why no kit can be made now."""
    try:
        require_own_signing_key()
    except OpsError as error:
        return error
    return None


# --- A new kit --------------------------------------------------------------------------------------------------------
@sensitive_variables()
def create(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """The answer to this POST is the only page that ever has the key. It is in no cache, session, row or log."""
    require_start(request, Run.Kind.RECOVERY_KIT)
    form = PasswordConfirmation(request)
    if not form.is_valid():
        return show(admin, request, form)
    try:
        run = new_run(request, Run.Kind.RECOVERY_KIT)
        run.pk = uuid.UUID(request.POST.get("run", ""))
    except ValueError:
        return HttpResponseRedirect(reverse(PAGE))
    if Run.objects.filter(pk=run.pk).exists():
        # The browser has loaded the page again, which would make another kit.
        messages.warning(request, SHOWN)
        return HttpResponseRedirect(reverse(PAGE))
    try:
        context, secret_key = get_context(), new_identity()
        page = new_sheet(context, secret_key, made_by=run.requested_by).as_html(back=reverse(PAGE))
        run.arguments = {"recipient": recipient_of(secret_key)}
        operations.create_recovery_kit(context, run)
    except OpsError as error:
        show_error(request, error)
        return HttpResponseRedirect(reverse(PAGE))
    response = HttpResponse(page)
    patch_cache_control(response, no_store=True, private=True)
    return response


# --- The proof --------------------------------------------------------------------------------------------------------
def prove(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """Show a new challenge for a kit, or check the word that was in one. The challenge's state is a signed token."""
    require_start(request, Run.Kind.KIT_PROOF)
    if token := request.POST.get("challenge"):
        return answer(admin, request, token)
    try:
        kit = recovery_kits_from_settings().get(request.POST.get("kit", ""))
    except OpsError as error:
        show_error(request, error)
        return HttpResponseRedirect(reverse(PAGE))
    challenge = new_challenge(kit)
    state = {
        "kit": kit.recipient,
        "text": challenge.text,
        "answer": digest(challenge.word),
        "user": request.user.get_username(),
    }
    return ask(admin, request, state, signing.dumps(state, salt=SALT))


def ask(
    admin: IndexAdmin[Backup], request: HttpRequest, state: Mapping[str, str], token: str, error: str = ""
) -> HttpResponse:
    return admin.render(
        request,
        "ops/admin/prove_recovery_kit.html",
        title="Prove that the recovery kit is at hand",
        text=state["text"],
        kit=state["kit"],
        token=token,
        error=error,
    )


def answer(admin: IndexAdmin[Backup], request: HttpRequest, token: str) -> HttpResponse:
    try:
        state = signing.loads(token, salt=SALT, max_age=CHALLENGE_LASTS)
    except signing.BadSignature:
        state = None
    if not state or state["user"] != request.user.get_username():
        messages.error(request, OLD)
        return HttpResponseRedirect(reverse(PAGE))
    if not constant_time_compare(digest(request.POST.get("word", "")), state["answer"]):
        return ask(admin, request, state, token, "This is not the word. Nothing was recorded.")
    try:
        operations.prove_recovery_kit(get_context(), new_run(request, Run.Kind.KIT_PROOF, recipient=state["kit"]))
    except OpsError as error:
        show_error(request, error)
    else:
        messages.success(request, "The recovery kit is at hand. The next proof is due in half a year.")
    return HttpResponseRedirect(reverse(PAGE))


def digest(word: str) -> str:
    """What the token has of the word: without the site's key, nobody can try words."""
    return salted_hmac(SALT, normalized(word), algorithm="sha256").hexdigest()


# --- The withdrawal ---------------------------------------------------------------------------------------------------
def withdraw(admin: IndexAdmin[Backup], request: HttpRequest) -> HttpResponse:
    """Ask, and then withdraw a kit that is lost."""
    require_start(request, Run.Kind.KIT_WITHDRAWAL)
    try:
        kit = recovery_kits_from_settings().get(request.POST.get("kit") or request.GET.get("kit", ""))
        if request.method != "POST":
            shown = KeyPresenter(recipient=kit.recipient, backups=recipients_by_backup())
            title = f"Withdraw the recovery kit {kit.name}?"
            return admin.render(request, "ops/admin/withdraw_recovery_kit.html", title=title, kit=kit, shown=shown)
        run = new_run(request, Run.Kind.KIT_WITHDRAWAL, recipient=kit.recipient)
        operations.withdraw_recovery_kit(get_context(), run)
    except OpsError as error:
        show_error(request, error)
    else:
        messages.success(request, f"The recovery kit {kit.name} was withdrawn. New backups are not encrypted to it.")
    return HttpResponseRedirect(reverse(PAGE))
