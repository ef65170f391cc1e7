"""Scripts behind the numbers of the documents; run from a checkout: ``python -m benchmarks.NAME``.

Not part of the installed package.
"""
