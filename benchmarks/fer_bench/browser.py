"""Headless Chromium through the DevTools protocol, over its pipe: nothing but the standard library.

`--remote-debugging-pipe` speaks JSON, each message ended by a NUL, on file descriptors 3 and 4.
See https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fer_runtime.errors import DataError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEYS = {
    "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9,
}  # fmt: skip
"""Name of a key -> its code on Windows, which the protocol asks for."""
TEXTS = {"Enter": "\r", " ": " "}
SHIFT, CONTROL = 8, 2
TIMEOUT = 60


def find_program() -> str | None:
    """The path of Chromium; None where it is not installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """A headless Chromium with one page, which is closed at the end of the block.

    Args:
        options: further options of its command line.

    Attributes:
        requests: the addresses of everything the page asked for, data: URIs left out.
        problems: what it wrote to the console as an error, and exceptions that it did not catch.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        program = find_program()
        if program is None:
            raise DataError(f"Chromium is not installed ({', '.join(PROGRAMS)}); install it.")
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        given = shlex.join([*options, f"--user-data-dir={self._folder.name}", "about:blank"])
        common = (
            "--headless --no-sandbox --remote-debugging-pipe --no-first-run --hide-scrollbars "
            "--disable-background-networking"
        )
        command = f'exec "$0" {common} {given} 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, program], pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._buffer = 0, b""
        self._events: deque[dict[str, Any]] = deque()
        self._session: str | None = None
        self.requests: list[str] = []
        self.problems: list[str] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._folder.cleanup()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; raises DataError where it fails."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise DataError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path) -> None:
        """Open a local file and wait until it has loaded."""
        self._events.clear()
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()

    def wait(self, expression: str, seconds: float = TIMEOUT) -> Any:
        """The value of an expression as soon as it is true; raises DataError if it does not be."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            if time.monotonic() > end:
                raise DataError(f"{expression} was not true within {seconds:g} seconds.")
            time.sleep(0.02)
        return found

    def choose_files(self, selector: str, paths: Sequence[Path]) -> None:
        """Choose local files in an <input type="file">, as its dialog does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        files = [str(path.resolve()) for path in paths]
        self.send("DOM.setFileInputFiles", nodeId=node, files=files)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises awaited; raises DataError for an error."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise DataError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def resize(self, width: int, height: int, *, scale: float = 1, mobile: bool = False) -> None:
        """The window's size in CSS pixels, and device pixels per CSS pixel."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=mobile,
        )  # fmt: skip
        self.settle()

    def prefer(self, **features: str) -> None:
        """Media features, such as prefers_color_scheme="dark"."""
        wanted = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.send("Emulation.setEmulatedMedia", features=wanted)
        self.settle()

    def press(self, key: str, *, modifiers: int = 0, times: int = 1) -> None:
        """Press a key as a keyboard does: a name of `KEYS`, or one character."""
        common = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": KEYS.get(key, 0)}
        text = TEXTS.get(key, "" if key in KEYS else key)
        for _ in range(times):
            kind = "keyDown" if text else "rawKeyDown"
            self.send("Input.dispatchKeyEvent", type=kind, text=text, **common)
            self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def settle(self) -> None:
        """Wait for two frames, so that what was asked for is on the screen."""
        self.value("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save what the window shows, or the whole page, as a PNG."""
        self.settle()
        beyond: dict[str, Any] = {}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            beyond = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        data = self.send("Page.captureScreenshot", format="png", **beyond)["data"]
        path.write_bytes(base64.b64decode(data))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], TIMEOUT)[0]:
                raise DataError(f"Chromium did not answer for {TIMEOUT} seconds.")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise DataError("Chromium ended unexpectedly.")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
            self._note(message["method"], message["params"])
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            url = event["request"]["url"]
            if not url.startswith("data:"):
                self.requests.append(url)
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(event["exceptionDetails"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.problems.append(str(event["entry"]["text"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.problems.append(str(event["args"]))
