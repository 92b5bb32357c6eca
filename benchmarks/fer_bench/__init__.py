"""Benchmarks: the same weights and the same span of work, engine against engine."""
