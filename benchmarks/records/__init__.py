"""Finished runs, and the small records that they leave in results/."""
