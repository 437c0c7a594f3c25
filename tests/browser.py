"""A headless browser, driven through its debugging pipe: Chromium, and nothing to install besides.

``https://chromedevtools.github.io/devtools-protocol/`` describes the messages.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

# The browser is told through descriptor 3 and answers through 4, whatever the pipes are called here.
_EXEC = """
import fcntl, os, sys
told, said = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(told, 3), os.dup2(said, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a browser.

    Args:
        reading: File descriptor of what it says.
        writing: File descriptor of what it is told.
    """

    def __init__(self, reading: int, writing: int):
        self._said, self._told, self._numbers = os.fdopen(reading, "rb"), os.fdopen(writing, "wb"), itertools.count(1)
        self._rest, self._session = b"", None
        self.logged: list[str] = []  # errors of the page, refusals of its content security policy among them
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command; returns its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._told.write(json.dumps(message).encode() + b"\0")
        self._told.flush()
        for answer in self._messages():
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
        raise EOFError("the browser has ended")

    def run(self, script: str) -> Any:
        """Returns the value of an expression, awaited, in the page."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Waits until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"still not {condition}: {self.run('document.body.innerText')} {self.logged}"
            time.sleep(0.05)

    def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Opens a page on a screen of this size in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def type(self, text: str) -> None:
        """Types into whatever has the focus."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Presses a key: Enter, Tab."""
        code, text = {"Enter": (13, "\r"), "Tab": (9, "")}[key]
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, file: Path) -> None:
        """Writes the whole page as a PNG file."""
        taken = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" not in self._rest:
                chunk = self._said.read1(1 << 16)
                if not chunk:
                    return
                self._rest += chunk
            line, _, self._rest = self._rest.partition(b"\0")
            message = json.loads(line)
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.logged.append(message["params"]["entry"]["text"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.logged.append(json.dumps(message["params"]["exceptionDetails"])[:500])
            yield message


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Runs a browser, whose profile is a new folder."""
    to_read, from_us = os.pipe()
    from_it, to_write = os.pipe()
    flags = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
        *("--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}", "about:blank"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _EXEC, str(to_read), str(to_write), CHROMIUM, *flags],
        pass_fds=(to_read, to_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    browser = Browser(from_it, from_us)
    try:
        yield browser
    finally:
        browser._session = None
        browser.ask("Browser.close")
        process.wait(timeout=30)
        browser._said.close()
        browser._told.close()
