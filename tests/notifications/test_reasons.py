"""The sentence before what apprise and Python say of a delivery that failed."""

import pytest

from ops.notifications.channels import where_of
from ops.notifications.reasons import explain_failure


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("NewConnectionError(… [Errno 111] Connection refused)", "lab:8080 refused the connection. "),
        ("NameResolutionError(… [Errno -2] Name or service not known)", "The host of the address was not found. "),
        ("URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", "The host of the address was "),
        ("ConnectTimeoutError(… Connection to lab timed out. (connect timeout=8))", "lab:8080 did not answer in time."),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "The TLS connection to lab:8080"),
        ("OSError: [Errno 113] No route to host", "This machine has no route to lab:8080."),
        ("Failed to send: Unauthorized, error=401. the request timed out", "lab:8080 did not accept the password"),
        ("403 Forbidden", "lab:8080 forbids this to the user or token"),
        ("404 Not Found", "lab:8080 does not know this address."),
    ],
)
def test_explain_failure_known_text_gives_a_sentence(text: str, start: str) -> None:
    assert explain_failure(text, "lab:8080").startswith(start)


@pytest.mark.parametrize("text", ["", "error=500, Connection refused by the database", "BadStatusLine: SSH-2.0"])
def test_explain_failure_other_text_gives_nothing(text: str) -> None:
    assert explain_failure(text, "lab") == ""


def test_explain_failure_without_a_host_names_the_service() -> None:
    assert explain_failure("error=401", "").startswith("The service did not accept the password or token.")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("json://someone:geheim77@lab.example.org:8080/tok3n", "lab.example.org:8080"),
        ("json://lab.example.org/8080", "lab.example.org"),
        ("json://lab.example.org:s3cret/", "lab.example.org"),
        ("tgram://123456789:AbCdEf/987", ""),
    ],
)
def test_where_of_gives_host_and_port_without_secrets(url: str, where: str) -> None:
    assert where_of(url) == where
