"""Servers that a page of the documentation starts: in the background, at free ports."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


def placed(text: str, ports: Mapping[str, str]) -> str:
    """A text with the ports of the servers that run, for those that the page names."""
    for page_port, port in ports.items():
        text = text.replace(f"127.0.0.1:{page_port}", f"127.0.0.1:{port}")
    return text


@contextmanager
def served(command: str) -> Iterator[dict[str, str]]:
    """A server in the background, at a free port -> the page's port: that one."""
    words = shlex.split(command, comments=True)
    named = words[words.index("--port") + 1] if "--port" in words else "8000"
    arguments = [*words[1:], "--port", "0", "--provider", "cpu"]
    start = "from fer_runtime.cli.serve import main; main()"
    program = [sys.executable, "-c", start, *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines: list[str] = []
            while "listening on" not in (lines or [""])[-1]:
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            yield {named: lines[-1].split(",")[0].rpartition(":")[2]}
        finally:
            process.terminate()
