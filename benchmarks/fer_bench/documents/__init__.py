"""The figures in README and docs, written from the stored results."""
