"""
Draws the README's picture: a compiled model, warmed up and measured with 64 rows, meets 96 in its 13th measured run.

    python examples/draw_a_warm_up.py examples/a_warm_up.svg [BACKEND]      BACKEND: inductor (the default) or eager

Every dot is a run that was really made; above it stands the one-time work that it paid for. The curve is the first figure
of the report's page, with the colors of the light theme and a legend. Needs matplotlib: pip install "jitwarmup[report]".
"""

import re
import sys
from pathlib import Path

import torch

from jitwarmup import steady_state

TARGET, BACKEND = sys.argv[1], (sys.argv[2:] or ["inductor"])[0]
LEGEND = {"cold run": "cold", "warm-up": "warm", "clean run": "steady", "one-time work": "marked"}

rows = iter([64] * 18 + [96] * 8)  # 1 validation run, 5 warm-up runs, 20 measured ones
layers = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU(), torch.nn.Linear(256, 256))
model = torch.compile(layers.eval(), backend=BACKEND, dynamic=False)


@torch.inference_mode()
def generate() -> torch.Tensor:
    return model(torch.ones(next(rows), 256))


def picture(page: str) -> str:
    """The page's first figure as a file of its own."""
    colors = dict(re.findall(r"--(\w+):\s*(#\w+)", page)[::-1])  # reversed: of each name the first, which is for light
    svg = page[page.index("<svg") : page.index("</svg>")]
    width, height = (float(number) for number in re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg).groups())
    svg = re.sub(r'viewBox="[^"]+"', f'viewBox="0 0 {width} {height + 24}" width="{width * 2:.0f}"', svg, count=1)
    paper = f'<rect width="100%" height="100%" fill="{colors["paper"]}"/>'
    legend = "".join(
        f'<circle cx="{12 + width / 4 * place:.0f}" cy="{height + 10}" r="3" fill="{colors[color]}"/>'
        f'<text x="{18 + width / 4 * place:.0f}" y="{height + 13}" font-size="9" fill="{colors["muted"]}">{kind}</text>'
        for place, (kind, color) in enumerate(LEGEND.items())
    )
    whole = svg.replace(">", f' font-family="sans-serif">{paper}', 1).replace("font-family: inherit; ", "") + legend
    return re.sub(r"var\(--(\w+)\)", lambda found: colors[found[1]], f"{whole}</svg>\n")


with steady_state(iterations=5, measurements=20) as steady:
    report = steady.measure(generate)
print(report.explain())
Path(TARGET).write_text(picture(report._repr_html_()), encoding="utf-8")
