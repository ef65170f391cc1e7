"""The embedded dataset: rendered shapes whose classes are their motions."""
