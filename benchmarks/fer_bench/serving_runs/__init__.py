"""Servers to compare with, a load from wrk, and what `fer-serve` does under bad conditions."""
