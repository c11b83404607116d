"""Pages as a browser shows them."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = shutil.which("chromium")

# The page around the others measures them from outside, so that they are tested as they are. An
# iframe can be narrower than a window.
_PROBE = """<!doctype html>
{frames}<pre id="result"></pre>
<script>
const measure = {measure};
onload = () => {{
  const pages = [...document.querySelectorAll("iframe")];
  document.getElementById("result").textContent = JSON.stringify(
    pages.map((frame) => measure(frame.contentDocument))
  );
}};
</script>"""

_FRAME = (
    '<iframe src="{source}" style="width:{width}px;height:900px;border:0;color-scheme:{theme}">'
    "</iframe>\n"
)


def browse(pages, measure, folder, width=1200, theme="light"):
    """Opens pages, and returns what was measured on each and what the console says.

    Args:
        pages: HTML files.
        measure: a JavaScript function from a document to what JSON can hold.
        folder: a folder for the browser's files.
        width: int, in pixels.
        theme: "light" or "dark".
    """
    frames = "".join(
        _FRAME.format(source=Path(page).as_uri(), width=width, theme=theme) for page in pages
    )
    probe = folder / "probe.html"
    probe.write_text(_PROBE.format(frames=frames, measure=measure))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--allow-file-access-from-files",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1300,1000",
        "--dump-dom",
        probe.as_uri(),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    result = re.search(r'<pre id="result">(.*?)</pre>', run.stdout, re.DOTALL).group(1)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(result)), console
