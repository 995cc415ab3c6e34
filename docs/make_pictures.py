"""Makes docs/pictures: what a run of the example shop with a regression looks like to a reader.

Run by `make docs`, as root: the shop is recorded and replayed as in the demo.
"""

from __future__ import annotations

import io
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from examples.demo import find_kebpf
from examples.processes import Process, ProcessError, exiting_on_signals
from examples.services import EXAMPLES, Services
from examples.shop.drive import drive

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BUG = "wrong_amount"
NAME = "shop"
COMMAND = "python -m shop"
WIDTH = 80
LINES_BEFORE = 6  # cases shown above the failures
WINDOW = "1180,1640"
STOP_SECONDS = 60.0


def record(services: Services, folder: Path) -> None:
    """Records the shop into ``folder``/kebpf/shop.  Raises `ProcessError`."""
    shop = services.start_shop()
    drive(services.shop_url, is_quiet=True)
    options = ["--pid", str(shop.pid), "--name", NAME]
    recorder = Process("kebpf record", [find_kebpf(), "record", *options], folder=folder)
    try:
        recorder.wait_for(lambda line: line.startswith("recording"))
        drive(services.shop_url, rounds=1, concurrency=2, seed=2, is_quiet=True)
    finally:
        status = recorder.stop(signal.SIGINT, STOP_SECONDS)
    if status != 0:
        raise ProcessError(f"kebpf record ended with {status}")
    shop.stop()


def replay(services: Services, folder: Path, page: Path) -> str:
    """What a terminal of 80 columns gets from `kebpf test`, which also writes the page."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONPATH": str(EXAMPLES), "SHOP_BUG": BUG, "COLUMNS": str(WIDTH)}
    environment = {**os.environ, **services.shop_environment, **settings, "TERM": "xterm-256color"}
    words = [str(find_kebpf()), "test", NAME, "-c", COMMAND, "--html", str(page)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=theirs, stderr=theirs) as test:
        os.close(theirs)
        written = b"".join(iter(lambda: read_some(ours), b""))
    os.close(ours)
    if test.returncode != 1:
        raise ProcessError(f"kebpf test ended with {test.returncode}, not with 1")
    return written.decode().replace("\r\n", "\n")


def read_some(terminal: int) -> bytes:
    """The next bytes of a terminal; none when nobody writes to it any more."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def choose_lines(written: str) -> list[str]:
    """The beginning, the last cases and all that comes after them; long commands are cut."""
    lines = written.split("\n")
    first_blank = lines.index("")
    return [*lines[:3], " …", *lines[first_blank - LINES_BEFORE :]]


def draw_terminal(lines: Sequence[str], target: Path) -> None:
    """Draws lines with colour codes as a terminal shows them."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(f"$ kebpf test {NAME} -c '{COMMAND}'", highlight=False)
    for line in lines:
        text = Text.from_ansi(line)
        text.truncate(WIDTH, overflow="ellipsis")
        console.print(text)
    svg = console.export_svg(title="kebpf test", theme=MONOKAI, unique_id="kebpf")
    target.write_text(svg, encoding="utf-8")


def photograph(page: Path, target: Path) -> None:
    """Opens a page in a headless browser and keeps what is in its window.

    Raises `ProcessError` if there is no browser.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise ProcessError("pictures of pages need Chromium")
    markup = page.read_text(encoding="utf-8")
    page.write_text(markup.replace('<details class="whole">', '<details class="whole" open>', 1))
    options = ["--headless=new", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    words = [program, *options, f"--screenshot={target}", page.as_uri()]
    subprocess.run(
        words, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def make_pictures() -> None:
    """Both pictures.  Raises `ProcessError`."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kebpf-docs-") as name, Services() as services:
        folder = Path(name)
        record(services, folder)
        services.stop_backends()
        page = folder / "report.html"
        written = replay(services, folder, page)
        draw_terminal(choose_lines(written), PICTURES / "terminal.svg")
        photograph(page, PICTURES / "report.png")


def main() -> int:
    """0, or 3 when it cannot be done here."""
    try:
        with exiting_on_signals():
            make_pictures()
    except ProcessError as error:
        sys.stderr.write(f"no pictures: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
