"""Checks of annotations and files before a run, and bad samples during one."""
