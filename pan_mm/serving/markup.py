"""HTML of the page's messages and pictures."""

import base64
import html
import io

import numpy as np
from PIL import Image


def error_text(message: str) -> str:
    """An error."""
    message = message[:1].upper() + message[1:]
    return f'<p class="error" role="alert">{html.escape(message)}</p>'


def status_text(message: str) -> str:
    """How things stand."""
    return f'<p role="status">{html.escape(message)}</p>'


def picture(title: str, words: str, image: np.ndarray) -> str:
    """An RGB picture inside the page, so that it is no file that would have to be removed."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<h3>{title}</h3><p>{html.escape(words)}.</p><div class="picture">'
        f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}"></div>'
    )
