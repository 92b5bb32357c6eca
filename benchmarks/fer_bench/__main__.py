"""`fer-bench`, and `python -m fer_bench`."""

import sys

from fer_runtime.cli import start


def main() -> None:
    """Entry point of `fer-bench`."""
    start("fer_bench.cli")


if __name__ == "__main__":
    sys.argv[0] = "fer-bench"
    main()
