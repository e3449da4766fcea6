"""Only kits that are signed here count, and what should be done about keys is said before they are needed."""

import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.backups.encryption import new_identity, recipient_of
from ops.backups.recovery_kit import (
    FILE,
    PROOF_INTERVAL,
    Concern,
    RecoveryKit,
    RecoveryKits,
    find_concerns,
    new_challenge,
    normalized,
    opened_by,
)
from ops.backups.signing import Keys
from ops.backups.storage.atomic_files import AtomicFiles
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from tests.backups.factories import KEYS, NOON

LATER = NOON + dt.timedelta(days=1)
MACHINE, PERSON = recipient_of(new_identity()), recipient_of(new_identity())


def new_kit(**changes: Any) -> RecoveryKit:
    return RecoveryKit(
        **{"recipient": recipient_of(new_identity()), "created_at": NOON, "created_by": "ada", **changes}
    )


@pytest.fixture
def kits(tmp_path: Path) -> RecoveryKits:
    return RecoveryKits(AtomicFiles(PrivateFileSystemStorage(tmp_path)), KEYS)


def test_kit_that_was_added_is_read_again(kits: RecoveryKits) -> None:
    assert kits.read() == ()
    first, second = new_kit(), new_kit()
    kits.add(first)
    kits.add(second)
    assert kits.read() == kits.current() == (first, second)
    with pytest.raises(PreconditionFailed, match="exists already"):
        kits.add(first)


def test_kit_is_found_by_the_end_of_its_key(kits: RecoveryKits) -> None:
    kit, other = new_kit(), new_kit()
    kits.add(kit)
    kits.add(other)
    for name in (kit.recipient, kit.name, f"…{kit.name}"):
        assert kits.get(name) == kit
    with pytest.raises(PreconditionFailed) as refused:
        kits.get("nothing")
    assert refused.value.message == "There is no recovery kit 'nothing'."
    assert refused.value.hint == f"Kits: {kit.name}, {other.name}."


def test_proven_kit_is_due_again_after_half_a_year(kits: RecoveryKits) -> None:
    kit = new_kit()
    kits.add(kit)
    assert not kit.needs_proof(NOON + PROOF_INTERVAL - dt.timedelta(seconds=1))
    due = NOON + PROOF_INTERVAL
    assert kit.needs_proof(due)
    proven = kits.prove(kit.name, by="grace", at=due)
    assert kits.read() == (proven,)
    assert (proven.proven_by, proven.needs_proof(due), proven.needs_proof(due + PROOF_INTERVAL)) == (
        "grace",
        False,
        True,
    )


def test_withdrawn_kit_gets_no_new_backups_and_needs_no_proof(kits: RecoveryKits) -> None:
    kit, other = new_kit(), new_kit()
    kits.add(kit)
    kits.add(other)
    withdrawn = kits.withdraw(kit.name, by="grace", at=LATER)
    assert kits.current() == (other,)
    assert kits.read() == (withdrawn, other)
    assert not withdrawn.needs_proof(NOON + 2 * PROOF_INTERVAL)
    with pytest.raises(PreconditionFailed, match="There is no recovery kit"):
        kits.prove(kit.recipient, by="grace", at=LATER)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: document["recovery_kits"][0].update(recipient=PERSON), "it was changed after it was signed"),
        (lambda document: document["recovery_kits"].clear(), "it was changed after it was signed"),
        (lambda document: document.pop("signature"), "it is not signed"),
        (lambda document: document.update(Keys(["other"]).sign(document)), "it is signed with an unknown key"),
    ],
)
def test_list_that_is_not_signed_here_is_refused(kits: RecoveryKits, tmp_path: Path, change: Any, reason: str) -> None:
    kits.add(new_kit())
    document = json.loads((tmp_path / FILE).read_text())
    change(document)
    (tmp_path / FILE).write_text(json.dumps(document))
    for use in (kits.read, kits.current, lambda: kits.add(new_kit()), lambda: kits.get(PERSON)):
        with pytest.raises(ArtifactInvalid, match=reason):
            use()


def test_signed_document_of_another_kind_is_refused(kits: RecoveryKits, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(KEYS.sign({"format": 1})))
    with pytest.raises(OpsError, match=r"recovery_kits\.json is not valid"):
        kits.read()


def test_challenge_is_opened_by_the_key_of_the_kit_with_debians_age(tmp_path: Path) -> None:
    age = shutil.which("age")
    if not age:
        pytest.skip("apt-get install age")
    (tmp_path / "key.txt").write_text(identity := new_identity())
    challenge = new_challenge(new_kit(recipient=recipient_of(identity)))
    assert challenge.text.startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    command = [age, "-d", "-i", tmp_path / "key.txt"]
    opened = subprocess.run(command, input=challenge.text, capture_output=True, text=True, check=True).stdout
    assert opened == f"{challenge.word}\n"
    assert challenge.word != new_challenge(new_kit()).word


def test_typed_word_may_have_capitals_and_blanks() -> None:
    assert normalized(" ABCD efgh 2345\n") == normalized("abcd-efgh-2345")
    assert normalized("abcd-efgh-2346") != normalized("abcd-efgh-2345")


def concerns(*kits: RecoveryKit, **changes: Any) -> list[str]:
    values: dict[str, Any] = {
        "now": LATER,
        "encrypts": True,
        "persons": [],
        "identities": [MACHINE],
        "signing_key": "now",
        "backups": {},
    }
    return [concern.code for concern in find_concerns(kits, **values | changes)]


def test_encrypted_location_without_a_persons_key_is_a_concern() -> None:
    assert concerns() == ["NoRecoveryKit"]
    assert concerns(new_kit(withdrawn_at=LATER)) == ["NoRecoveryKit"]
    assert concerns(encrypts=False) == concerns(new_kit()) == concerns(persons=[PERSON]) == []


def due(*kits: RecoveryKit) -> list[Concern]:
    """The concerns half a year after the kits were made."""
    return find_concerns(
        kits, now=NOON + PROOF_INTERVAL, encrypts=True, persons=[], identities=[], signing_key="", backups={}
    )


def test_proof_that_is_due_is_a_concern_also_without_an_encrypted_location() -> None:
    kit, other = new_kit(), new_kit()
    assert concerns(kit, now=NOON + PROOF_INTERVAL, encrypts=False) == ["ProofDue"]
    (one,) = due(kit)
    assert one.text == f"A proof is due that the recovery kit {kit.name} is still at hand."
    assert one.hint == "Give it on the page Recovery kits, or with: manage.py prove_recovery_kit"
    (both,) = due(kit, other)
    assert f"these recovery kits are still at hand: {kit.name}, {other.name}." in both.text


def test_kit_with_an_earlier_signing_key_is_a_concern() -> None:
    assert concerns(new_kit(signing_key="before")) == ["OldSigningKey"]
    assert concerns(new_kit(signing_key="before", withdrawn_at=LATER), new_kit(signing_key="now")) == []
    assert concerns(new_kit(signing_key="")) == []


def test_backup_that_no_known_key_opens_is_the_first_concern() -> None:
    kit, lost = new_kit(), new_kit(withdrawn_at=LATER)
    backups = {
        "newest": [MACHINE, kit.recipient],
        "lost": [lost.recipient],
        "person": [PERSON, lost.recipient],
        "oldest": [],
    }
    found = find_concerns(
        [kit, lost], now=LATER, encrypts=True, persons=[PERSON], identities=[MACHINE], signing_key="", backups=backups
    )
    assert [concern.code for concern in found] == ["NoKnownKey"]
    assert found[0].text == "No known key opens the encrypted copies of 2 backups; the newest is lost."
    assert opened_by(kit.recipient, backups) == ["newest"]
    assert concerns(lost, backups={"lost": [lost.recipient]}) == ["NoKnownKey", "NoRecoveryKit"]
