"""Show the commands in a text with a button that copies them. `ops/static/ops/copy-command.js` is its script."""

import re

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

PROGRAM = r"manage\.py"
WORD = r"(?:'[^']*'|[^\s,;()'`]*[^\s,;()'`.])"
"""An argument, without the full stop of a sentence that it ends."""
VALUE = r"(?:'[^']*'|[^\s,;:()']*(?:[\d_/]|\.\w)[^\s,;:()']*|[A-Z]+\b)"
"""One that is no word of a sentence: quoted, a name or a path, or a placeholder in capitals."""
COMMAND = re.compile(
    rf"`(?P<quoted>{PROGRAM} [^`]+)`"
    # After a colon it goes on to the end of the clause, anywhere else as far as it cannot be English.
    rf"|(?<=: )(?P<last>{PROGRAM}(?: {WORD}(?=[\s.,;)]|$))+)"
    rf"|(?P<within>{PROGRAM} [a-z_]+(?: --[a-z-]+(?: {VALUE})?)*)"
)
"""A command in a text, with or without backticks."""


def show_command(command: str) -> SafeString:
    """`command` as code, with the button that copies it. The button is invisible without JavaScript."""
    return format_html(
        '<span class="ops-command"><code>{}</code>'
        '<button type="button" class="ops-copy-command" data-copy-command aria-label="Copy {}">Copy</button></span>',
        command,
        command,
    )


def show_commands(text: str) -> SafeString:
    """`text`, escaped, with all its commands as `show_command` shows them."""
    if isinstance(text, SafeString):
        return text
    return format_html_join("", "{}", ((part,) for part in _parts(str(text))))


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    end = 0
    for found in COMMAND.finditer(text):
        parts += [text[end : found.start()], show_command(next(filter(None, found.groups())))]
        end = found.end()
    return [*parts, text[end:]]
