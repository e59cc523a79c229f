"""
The page in a real browser: nothing overlaps, nothing is cut, wide and narrow, light and dark.

    JITWARMUP_SCREENS=/tmp/screens python -m pytest -m slow tests/views/test_screens.py     # keeps the pictures

A copy of the page carries a script that asks the browser where every piece of text is; the page itself has none.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import zlib

import pytest

from jitwarmup.views import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="SKIPPED LOUDLY: no Chromium, so nobody looked at the page: apt install chromium"
    ),
]
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
]
LOOK = """<script>
const jw = document.querySelector('.jw'), inner = Math.min(WIDTH, innerWidth);
jw.style.width = inner + 'px';  // a window of Chromium's is no narrower than 500
document.querySelectorAll('details').forEach(d => { d.open = OPEN });
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.textContent.trim() || ['SCRIPT', 'STYLE'].includes(parent.tagName)) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const r of range.getClientRects())
    if (r.width > 1 && r.height > 1)
      boxes.push([r.left, r.top, r.right, r.bottom, node.textContent.trim().slice(0, 40), parent.closest('svg') ? 1 : 0]);
}
const frames = [...document.querySelectorAll('section, svg')].map(e => {
  const r = e.getBoundingClientRect(); return [e.tagName, r.left, r.right, e.scrollWidth - e.clientWidth] });
const say = {wide: Math.max(jw.scrollWidth, ...boxes.map(b => b[2] - 1)), inner, boxes, frames,
  paper: getComputedStyle(document.querySelector('.jw')).backgroundColor,
  ink: getComputedStyle(document.querySelector('.jw')).color, high: document.documentElement.scrollHeight};
const out = document.createElement('pre'); out.id = 'said'; out.textContent = JSON.stringify(say); document.body.append(out);
</script></body>"""
PAGES = {
    "usual": {"marked": (3,)},
    "streamed": {"stream": True, "device": True, "marked": (3, 9)},
    "long": {"runs": 500, "stream": True, "device": True, "marked": (3, 77, 300)},
    "crowded": {"runs": 500, "marked": range(0, 500, 3), "kinds": [f"kind.number_{at}" for at in range(20)],
                "name": "a.very.long.name_that_has_no_place_to_break_" * 3},
}  # fmt: skip
SIZES = {"narrow": 380, "middle": 800, "wide": 1400}


def browse(tmp_path, page, *words, width=1200, height=1600, dark=False):
    mode = ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    command = [CHROMIUM, *QUIET, *mode, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},{height}"]
    done = subprocess.run(
        [*command, *words, f"file://{page}"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def looked(tmp_path, text, width, *, dark, opened=False):
    """What the browser says of the page in ``width`` pixels, its tables of runs open or not."""
    inner = tmp_path / "inner.html"
    inner.write_text(
        text.replace("</body>", LOOK.replace("OPEN", "true" if opened else "false").replace("WIDTH", str(width)))
    )
    dom = browse(tmp_path, inner, "--dump-dom", width=width, dark=dark)
    found = re.search(r'<pre id="said">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-500:]
    entities = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
    return json.loads(entities)


def overlaps(boxes):
    """Pairs of texts that stand on one another by more than two pixels both ways."""
    found = []
    ordered = sorted(boxes, key=lambda box: box[1])
    for at, one in enumerate(ordered):
        for two in ordered[at + 1 :]:
            if two[1] >= one[3] - 2:
                break
            if min(one[2], two[2]) - max(one[0], two[0]) > 2:
                found.append((one[4], two[4]))
    return found


def luminance(color):
    """Relative luminance (WCAG 2) of ``rgb(r, g, b)``."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("kind", sorted(PAGES))
def test_nothing_overlaps_and_nothing_is_cut(tmp_path, make_report, kind, size, dark):
    settings = dict(PAGES[kind])
    text = html.page([make_report(settings.pop("runs", 20), **settings)])
    seen = looked(tmp_path, text, SIZES[size], dark=dark, opened=not dark)
    assert seen["inner"] == SIZES[size]
    assert seen["wide"] <= seen["inner"], "the page is wider than its window"
    assert overlaps(seen["boxes"]) == []
    cut = [box for box in seen["boxes"] if box[0] < 0 or box[2] > seen["inner"] + 1]
    assert cut == []
    assert [frame for frame in seen["frames"] if frame[1] < 0 or frame[2] > seen["inner"] + 1] == []
    assert [frame for frame in seen["frames"] if frame[0] == "SECTION" and frame[3] > 1] == []
    paper, ink = luminance(seen["paper"]), luminance(seen["ink"])
    assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 10
    assert (paper < 0.1) == dark


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", ["narrow", "wide"])
@pytest.mark.parametrize("kind", ["streamed", "long"])
def test_screenshots_are_made(tmp_path, make_report, kind, size, dark):
    settings = dict(PAGES[kind])
    page = tmp_path / "page.html"
    page.write_text(html.page([make_report(settings.pop("runs", 20), **settings)]))
    folder = pathlib.Path(os.environ.get("JITWARMUP_SCREENS", tmp_path))
    folder.mkdir(exist_ok=True)
    picture = folder / f"{kind}-{size}-{'dark' if dark else 'light'}.png"
    width = {"narrow": 500, "wide": 1400}[size]  # a window of Chromium's is no narrower than 500
    browse(tmp_path, page, f"--screenshot={picture}", width=width, height=3000 if size == "narrow" else 2000, dark=dark)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 50_000
    assert zlib.crc32(data) != 0


def test_overlaps_would_be_seen():
    assert overlaps([[0, 0, 10, 10, "a", 0], [5, 5, 15, 15, "b", 0]]) == [("a", "b")]
    assert overlaps([[0, 0, 10, 10, "a", 0], [0, 11, 10, 20, "b", 0]]) == []
