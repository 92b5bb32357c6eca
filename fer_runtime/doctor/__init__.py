"""What is installed, what runs here, and why the rest does not: the checks of `fer-doctor`."""
