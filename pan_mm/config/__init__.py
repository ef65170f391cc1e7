"""Everything about a config: finding it, its options, its scale, its pipelines."""
