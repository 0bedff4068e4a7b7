"""A headless Chromium, spoken to over its DevTools pipe; what a page logs, throws or fetches is kept."""
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time


class Navigated(Exception):
    """The page went while it was asked."""


class Browser:
    """Use as a context manager. One page at a time: open() it, then evaluate(), click(), screenshot()."""

    def __init__(self):
        program = shutil.which("chromium")
        assert program, "chromium is missing: scripts/setup.sh --test installs it"
        self.profile = tempfile.mkdtemp(prefix="diffq-browser-")
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        # --no-sandbox: tests may run as root. The pipe is on descriptors 3 and 4.
        command = (f"exec {program} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars "
                   f"--no-first-run --remote-debugging-pipe --user-data-dir={self.profile} about:blank "
                   f"3<&{to_browser} 4>&{from_browser} 2>/dev/null")
        self.process = subprocess.Popen(["bash", "-c", command], pass_fds=(to_browser, from_browser))
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.into)
        os.close(self.out)
        shutil.rmtree(self.profile, ignore_errors=True)

    def receive(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.into, 1 << 20)
            assert piece, "the browser has ended"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer and "navigated" in answer["error"]["message"]:
                    raise Navigated
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def open(self, path, width=1280, height=900, dark=False, media=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        self.call("Page.navigate", url=f"file://{path}")
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Navigated):
                if self.evaluate(expression):
                    return
            assert time.monotonic() < deadline, f"never came true: {expression}"
            time.sleep(0.05)

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left",
                  clickCount=0 if kind == "mouseMoved" else 1)

    def click(self, x, y):
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def screenshot(self, path, whole_page=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole_page)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """Errors and warnings of the console, exceptions, requests that aren't the page itself."""
        found = []
        for event in self.events:
            method, parameters = event["method"], event["params"]
            if method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append(["console", parameters["args"]])
            elif method == "Runtime.exceptionThrown":
                found.append(["exception", parameters["exceptionDetails"]])
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(["log", parameters["entry"]])
            elif method == "Network.requestWillBeSent":
                url = parameters["request"]["url"]
                if not url.startswith(("data:", "blob:")) and parameters.get("type") != "Document":
                    found.append(["request", url])
        return found
