"""Repairs of the upstream stack, one file per upstream package."""


def apply():
    """Apply each repair whose fault is present in the installed stack."""
