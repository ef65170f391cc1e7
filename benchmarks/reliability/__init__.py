"""Long trials of the promises in docs/reliability.md: kills and load."""
