"""`fer-export`, and `python -m fer_export`."""

import sys

from fer_runtime.cli import start


def main() -> None:
    """Entry point of `fer-export`."""
    start("fer_export.cli")


if __name__ == "__main__":
    sys.argv[0] = "fer-export"
    main()
