"""Two versions or settings against each other, and two stored runs: what changed beyond noise."""
