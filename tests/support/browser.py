"""A real browser for tests: one page in headless Chromium."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
from pathlib import Path

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


class Browser:
    """One page in headless Chromium, driven by its own protocol through a pipe: no port, no network."""

    def __init__(self, profile, path):
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        command = [
            *("bash", "-c", f'exec "$0" "$@" 3<&{down_read} 4>&{up_write}', BROWSER, "--headless=new"),
            *("--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *(
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
                f"--user-data-dir={profile}",
                "about:blank",
            ),
        ]
        self.process = subprocess.Popen(
            command, pass_fds=(down_read, up_write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.close(down_read), os.close(up_write)
        self.down, self.up, self.buffer = down_write, up_read, b""
        self.numbers, self.events, self.session = itertools.count(1), [], None
        targets = self("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self.open(path)

    def __call__(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def receive(self, seconds=60):
        while b"\0" not in self.buffer:
            assert select.select([self.up], [], [], seconds)[0], "the browser does not answer"
            piece = os.read(self.up, 1 << 20)
            assert piece, "the browser ended"
            self.buffer += piece
        whole, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(whole)

    def open(self, path):
        self.events.clear()
        self("Page.navigate", url=Path(path).absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def js(self, code):
        """The value of an expression, or of the last of several statements."""
        answer = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width, height=900, phone=False):
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def media(self, media="screen", **features):
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self("Emulation.setEmulatedMedia", media=media, features=features)

    def key(self, name, code, text=""):
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **extra)

    def troubles(self):
        """Whatever the console would show in red, and every address that was asked for."""
        self.js("0")
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", params["exceptionDetails"]))
            if method == "Log.entryAdded":
                found.append(params["entry"])
            if method == "Runtime.consoleAPICalled":
                found.append(params)
            if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("file:"):
                found.append(params["request"]["url"])
        return found

    def screenshot(self, path, whole=True):
        shot = self("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path):
        printed = self("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        Path(path).write_bytes(base64.b64decode(printed["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.down), os.close(self.up)
