"""Network addresses as they may be shown."""

import re

_SECRETS = (
    # rtsp://user:PASSWORD@host; the last @ before the path ends it, as passwords may hold one
    (re.compile(r'(\w://[^/?#\s:@]*:)[^/?#\s]*(?=@)'), r'\1***'),
    # ?password=…, and the form that cameras use: /user=admin&password=…
    (
        re.compile(
            r'([/?&;](?:[\w-]*(?:pass|pwd|token|secret|signature)[\w-]*|key|apikey|api_key|sig)=)'
            r'[^&;#\s]+',
            re.IGNORECASE,
        ),
        r'\1***',
    ),
)


def redact_url(text: object) -> str:
    """A text with ``***`` for the passwords and keys in the addresses that it holds."""
    text = str(text)
    if '://' in text:
        for secret, shown in _SECRETS:
            text = secret.sub(shown, text)
    return text
