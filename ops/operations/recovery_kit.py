"""Recovery kits: make one, prove that it is at hand, withdraw it. Its secret key never gets into a run."""

from ops.backups.recovery_kit import RecoveryKit, RecoveryKits
from ops.models import Run
from ops.runs.context import OpsContext
from ops.runs.executor import operation
from ops.runs.recorder import RunRecorder
from ops.runs.results import RecoveryKitResult
from ops.utils import clock


@operation(Run.Kind.RECOVERY_KIT)
def create_recovery_kit(context: OpsContext, run: RunRecorder, *, recipient: str) -> RecoveryKitResult:
    """Add the public key of a new kit: from now on new backups are encrypted to it. The caller has its secret key."""
    kits = kits_of(context)
    kits.add(
        RecoveryKit(
            recipient=recipient,
            created_at=clock.now(),
            created_by=run.requested_by,
            signing_key=kits.keys.known[0].id,
        )
    )
    return RecoveryKitResult(recipient=recipient)


@operation(Run.Kind.KIT_PROOF)
def prove_recovery_kit(context: OpsContext, run: RunRecorder, *, recipient: str) -> RecoveryKitResult:
    """Record that a challenge was decrypted with the kit. The caller has compared the word."""
    kit = kits_of(context).prove(recipient, by=run.requested_by, at=clock.now())
    return RecoveryKitResult(recipient=kit.recipient)


@operation(Run.Kind.KIT_WITHDRAWAL)
def withdraw_recovery_kit(context: OpsContext, run: RunRecorder, *, recipient: str) -> RecoveryKitResult:
    """Record that the kit is lost: no new backup is encrypted to it. Existing backups are not changed."""
    kit = kits_of(context).withdraw(recipient, by=run.requested_by, at=clock.now())
    return RecoveryKitResult(recipient=kit.recipient)


def kits_of(context: OpsContext) -> RecoveryKits:
    return RecoveryKits(context.repository.files, context.repository.keys)
