"""What two models may differ by."""

TOLERANCE = 1e-4
"""Largest difference of logits allowed for fp32, in standard deviations of the reference's."""
LEAST_SCALE = 1e-3
"""Below this standard deviation of the logits there is nothing to compare."""
