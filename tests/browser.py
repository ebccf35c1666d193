"""A headless Chromium, driven through a pipe by its DevTools protocol."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
PATIENCE = 60  # seconds


class Page:
    """A page of a browser, with all that it logs and asks for."""

    def __init__(self, commands, answers):
        self.commands, self.answers = commands, answers
        self.rest, self.number, self.session = b"", 0, None
        self.errors, self.requests = [], []

    def call(self, method, **params):
        """Call a method of the protocol, and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self.number:
            self._notice(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url, width, height=1000, *, dark=False, media=""):
        """Open an address in a window of this size, and wait until it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, expression):
        """Return the value of an expression of JavaScript."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression):
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never {expression}"
            time.sleep(0.05)

    def press(self, key, code, **others):
        """Press a key and let it go; `text` says what it would write."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **others
            )

    def screenshot(self, path, *, whole=True):
        """Write a picture of the page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(found["data"]))

    def _next(self):
        while b"\0" not in self.rest:
            part = os.read(self.answers, 2**16)
            assert part, "the browser has ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def _notice(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


@contextlib.contextmanager
def browser(folder):
    """Yield a page of a Chromium that keeps its profile in a folder."""
    our_end, their_end = os.pipe(), os.pipe()
    shell = f'exec "$@" 3<&{our_end[0]} 4>&{their_end[1]}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "browser", CHROMIUM, *ARGUMENTS, f"--user-data-dir={folder}"],
        pass_fds=(our_end[0], their_end[1]),
        stderr=subprocess.DEVNULL,
    )
    for end in (our_end[0], their_end[1]):
        os.close(end)
    page = Page(our_end[1], their_end[0])
    try:
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        attached = page.call("Target.attachToTarget", targetId=target, flatten=True)
        page.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        process.terminate()
        process.wait(PATIENCE)
        for end in (our_end[1], their_end[0]):
            os.close(end)
