"""Drives a headless Chromium by the W3C WebDriver protocol, as far as the tests need it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver, section 12
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CONTROL = "\ue009"
STARTED = re.compile(r"started successfully on port (\d+)")


class Browser:
    """One session; ``base`` is its URL."""

    def __init__(self, client: httpx.Client, base: str) -> None:
        self._client = client
        self._base = base

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._client.request(method, f"{self._base}{path}", json=body)
        assert answer.is_success, answer.text[:400]
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Loads a page and waits until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function gives in the page."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def settle(self) -> None:
        """Waits until what was queued for the page is done."""
        self.run("return new Promise(done => requestAnimationFrame(() => setTimeout(done)))")

    def find(self, selector: str) -> dict[str, str]:
        """The first element that a CSS selector names."""
        using = {"using": "css selector", "value": selector}
        found: dict[str, str] = self._call("POST", "/element", using)
        return found

    def click(self, selector: str) -> None:
        """As a person does: it must be visible."""
        self._call("POST", f"/element/{self.find(selector)[ELEMENT]}/click", {})
        self.settle()

    def type(self, selector: str, text: str) -> None:
        """Presses keys in an element."""
        self._call("POST", f"/element/{self.find(selector)[ELEMENT]}/value", {"text": text})

    def take_log(self) -> list[str]:
        """What the console has got since it was last asked, errors of loading among it."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def take_picture(self) -> str:
        """The window as PNG, in base64."""
        picture: str = self._call("GET", "/screenshot")
        return picture


@contextmanager
def open_browser(*, has_scripts: bool = True) -> Iterator[Browser]:
    """A browser of its own; skips the test where there is none."""
    driver = shutil.which("chromedriver")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if driver is None or program is None:
        pytest.skip("needs Chromium and its chromedriver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = next(filter(None, map(STARTED.search, process.stdout)))
        with httpx.Client(base_url=f"http://127.0.0.1:{found[1]}", timeout=60) as client:
            yield from _open_session(client, program, has_scripts)
    finally:
        process.terminate()
        process.communicate()


def _open_session(client: httpx.Client, program: str, has_scripts: bool) -> Iterator[Browser]:
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    scripts = "profile.managed_default_content_settings.javascript"
    options = {
        "binary": program,
        "args": arguments,
        "prefs": {} if has_scripts else {scripts: 2},
    }
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
    assert answer.is_success, answer.text[:400]
    base = f"/session/{answer.json()['value']['sessionId']}"
    try:
        yield Browser(client, base)
    finally:
        client.delete(base)
