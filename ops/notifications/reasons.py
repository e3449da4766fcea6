"""Why a delivery failed, as a sentence for users: from what apprise, Python and the other side say of it."""

import re
from collections.abc import Mapping

STATUS = re.compile(r"\berror=(\d{3})\b|\A(\d{3}) ")
"""The status of an HTTP response: in the log of apprise, and at the start of the answer to a heartbeat ping."""
BY_STATUS: Mapping[str, str] = {
    "401": "{where} did not accept the password or token. Check the address.",
    "403": "{where} forbids this to the user or token of the address. Check what they may do there.",
    "404": "{where} does not know this address. Check its path, which may have a topic, a token or an identifier.",
}
BY_ERROR: Mapping[str, str] = {
    r"connection refused|ConnectionRefused": "{where} refused the connection. Check the address and that the service"
    " runs.",
    r"NameResolutionError|gaierror|name or service not known|name resolution|no address associated": "The host of the"
    " address was not found. Check its name, and the DNS of this machine.",
    r"SSLError|SSLCert|certificate verify failed|\[SSL": "The TLS connection to {where} failed. Check its certificate,"
    " and that it takes TLS on this port.",
    r"timed out|timeout": "{where} did not answer in time. Check the address and that the service runs.",
    r"no route to host|network is unreachable": "This machine has no route to {where}. Check the address and the"
    " network.",
}
"""By what the texts of errors contain. The first counts."""


def explain_failure(text: str, where: str) -> str:
    """``lab.example.org:8080 refused the connection. …``; '' for what is not known. `where` has no secrets."""
    subject = where or "the service"
    if status := STATUS.search(text):
        sentence = BY_STATUS.get(status[1] or status[2], "")
    else:
        sentence = next((known for error, known in BY_ERROR.items() if re.search(error, text, re.IGNORECASE)), "")
    filled = sentence.format(where=subject)
    # A name of a host keeps its spelling.
    return filled if where else filled[:1].upper() + filled[1:]
