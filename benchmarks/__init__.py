"""What makes the numbers and pages of docs/: run from a checkout as ``python -m benchmarks.NAME``.

Not part of the installed package.
"""
