"""`python -m fer_runtime` is `fer-infer`."""

import sys

from fer_runtime.cli import run_infer

sys.argv[0] = "fer-infer"
run_infer()
