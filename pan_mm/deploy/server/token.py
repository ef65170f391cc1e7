"""The token that clients of the API show."""

import sys
from pathlib import Path
from typing import Optional

LEAST_TOKEN = 16  # characters


def read_token(path: Optional[str]) -> Optional[str]:
    """Read the token in a file, without the space around it.

    Raises:
        ValueError: If it is too short, or has characters that a header cannot hold.
    """
    if path is None:
        return None
    token = Path(path).read_text(encoding='utf-8').strip()
    if Path(path).stat().st_mode & 0o077:
        print(f'warning: others can read the token; chmod 600 {path}', file=sys.stderr)
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or ' ' in token:
        raise ValueError(
            f'{path} must hold a token of {LEAST_TOKEN} characters or more, without spaces; '
            'openssl rand -hex 32 makes one'
        )
    return token
