"""Other packages for the same task, each in an environment of its own, on the same face crops."""
