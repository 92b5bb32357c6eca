"""`fer-infer --tune`: the fastest settings for a machine and a model, measured and kept."""
