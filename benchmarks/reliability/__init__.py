"""Long trials of what docs/reliability.md promises: kills, mixed precision, fuzzing."""
