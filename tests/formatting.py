"""Formats the text of a config once; MMEngine does so for each log and each file of a run.

That took more than half of the time of a test with a runner.
"""

from mmengine.config import config


def once(format_code):
    """Make a formatter keep its results."""
    known = {}

    def formatted(text, **style):
        if text not in known:
            known[text] = format_code(text, **style)
        return known[text]

    return formatted


if hasattr(config, 'FormatCode'):  # OneDL's MMEngine has none
    config.FormatCode = once(config.FormatCode)
