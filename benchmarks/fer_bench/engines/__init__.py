"""What computes a model, each engine in a process of its own, with its best honest settings."""
