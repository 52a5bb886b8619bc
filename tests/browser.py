"""Pages in a headless browser: what their scripts make of them, and what axe, a check of accessibility, finds wrong."""

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


def browse(address: str, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page with a profile of its own and without network; what is done there says what the flags ask for."""
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [str(BROWSER), *quiet, f"--user-data-dir={profile}", *flags, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


def elements(
    address: str, profile: Path, *flags: str, milliseconds: int = 2000
) -> subprocess.CompletedProcess[str]:
    """Open a page as `browse` does and return its elements after its scripts have run for so long."""
    return browse(address, profile, f"--virtual-time-budget={milliseconds}", "--dump-dom", *flags)


def with_scripts(page: str, *scripts: str) -> str:
    """Return a page with further scripts, which its policy lets run."""
    open_page = re.sub("script-src '[^']*'", "script-src 'unsafe-inline'", page)
    return open_page.replace(
        "</body>", "".join(f"<script>{script}</script>" for script in scripts) + "</body>"
    )


def violations(page: Path, profile: Path, width: int = 1280, *, dark: bool = False) -> list[list[str]]:
    """Return the rules that a page breaks, each with the first element that does; a copy beside the page runs axe."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    copy = page.with_name(f"axe_{page.name}")
    copy.write_text(with_scripts(page.read_text(encoding="utf-8"), axe, RUN), encoding="utf-8")
    flags = [f"--window-size={width},1500", *(["--blink-settings=preferredColorScheme=0"] if dark else [])]
    try:
        done = elements(copy.as_uri(), profile, *flags, milliseconds=20_000)
    finally:
        copy.unlink()
    [found] = re.findall(r'<pre id="axe-found">(.*?)</pre>', done.stdout, re.S)
    return list(json.loads(html.unescape(found)))
