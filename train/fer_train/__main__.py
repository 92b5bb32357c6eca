"""`fer-train`, and `python -m fer_train`."""

import sys

from fer_runtime.cli import start


def main() -> None:
    """Entry point of `fer-train`."""
    start("fer_train.cli")


if __name__ == "__main__":
    sys.argv[0] = "fer-train"
    main()
