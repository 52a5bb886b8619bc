"""What axe, the usual check of accessibility, finds wrong with a page in a headless browser."""

import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="expected chromium or google-chrome on the path; found none"
)

RUN = """
axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => {
  const found = document.createElement("pre");
  found.id = "axe-found";
  found.textContent = JSON.stringify(violations.map(({id, nodes}) => [id, nodes[0].html]));
  document.body.append(found);
});
"""


def violations(page: Path, folder: Path, width: int = 1280, *, dark: bool = False) -> list[list[str]]:
    """Return the rules that a page breaks, each with the first element that does; ``folder`` is for the browser.

    A copy of the page beside it runs axe in it, so its policy for scripts is left out there.
    """
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.read_text(encoding="utf-8"))
    copy = page.with_name(f"axe_{page.name}")
    copy.write_text(
        text.replace("</body>", f"<script>{axe}</script><script>{RUN}</script></body>"), encoding="utf-8"
    )
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        f"--window-size={width},1500",
    ]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command = [str(BROWSER), *flags, "--virtual-time-budget=20000", "--dump-dom", copy.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    finally:
        copy.unlink()
    [found] = re.findall(r'<pre id="axe-found">(.*?)</pre>', done.stdout, re.S)
    return list(json.loads(html.unescape(found)))
