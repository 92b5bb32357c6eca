"""Packed pixels: a set of images decoded once, for many runs over the same set."""
