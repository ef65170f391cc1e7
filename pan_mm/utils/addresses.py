"""Network addresses as they may be shown."""

import logging
import re
from typing import Any

_SECRETS = (
    # rtsp://user:PASSWORD@host; the last @ before the path ends it, as passwords may hold one
    (re.compile(r'(\w://[^/?#\s:@]*:)[^/?#\s]*(?=@)'), r'\1***'),
    # the same with a / in the password; host:554/a@b has none
    (re.compile(r'(\w://[^/?#\s:@\[]*:)(?!\d*/)[^?#\s@]*(?=@)'), r'\1***'),
    # ?password=…, and the form that cameras use: /user=admin&password=…
    (
        re.compile(
            r'([/?&;](?:[\w-]{0,32}(?:pass|pwd|token|secret|signature|credential)[\w-]{0,32}'
            r'|(?:(?:account|access|api)_?)?key|sas|sig)=)'
            r'[^&;#\s]+',
            re.IGNORECASE,
        ),
        r'\1***',
    ),
)


def redact_url(text: object) -> str:
    """Replace by ``***`` the passwords and keys in the addresses that a text holds."""
    text = str(text)
    if '://' in text:
        for secret, shown in _SECRETS:
            text = secret.sub(shown, text)
    return text


def redact(node: Any) -> Any:
    """Copy a config with the addresses in it as they may be shown."""
    if isinstance(node, dict):
        return type(node)({key: redact(value) for key, value in node.items()})
    if isinstance(node, (list, tuple)):
        return type(node)(map(redact, node))
    return redact_url(node) if isinstance(node, str) else node


def redact_record(record: logging.LogRecord) -> bool:
    """Redact a log record; a filter of a logger, which lets everything through."""
    message = record.getMessage()
    if '://' in message:
        record.msg, record.args = redact_url(message), ()
    return True
