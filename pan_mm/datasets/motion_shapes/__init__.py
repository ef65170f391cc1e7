"""Embedded dataset of rendered shapes whose classes are their motions."""
