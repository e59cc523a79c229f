"""The look of the page and of the notebook's fragment: one sheet, light and dark, wide and narrow, no script."""

from __future__ import annotations

LIGHT = (
    "--paper:#fff;--card:#f7f8fa;--ink:#1b1f24;--muted:#5b6470;--grid:#d5dae1;--cold:#c2410c;--warm:#b7791f;"
    "--steady:#1d6fb8;--marked:#c026a3;--good:#1a7f45;--bad:#c62828;--c1:#1d6fb8;--c2:#c2410c;--c3:#1a7f45;"
    "--c4:#7c3aed;--c5:#b7791f;--c6:#0e7490;--c7:#c026a3;--c8:#64748b"
)
DARK = (
    "--paper:#14171b;--card:#1d2127;--ink:#e8ebef;--muted:#a3adb9;--grid:#3a424d;--cold:#ff8a4c;--warm:#f0b83f;"
    "--steady:#5cb0f2;--marked:#f27bdb;--good:#5fd08f;--bad:#ff7b72;--c1:#5cb0f2;--c2:#ff8a4c;--c3:#5fd08f;"
    "--c4:#b79bff;--c5:#f0b83f;--c6:#4fc4dd;--c7:#f27bdb;--c8:#94a3b8"
)
SHEET = (
    ".jw{"
    + LIGHT
    + ";box-sizing:border-box;color:var(--ink);background:var(--paper);font:15px/1.5 system-ui,sans-serif;padding:16px}"
    "@media(prefers-color-scheme:dark){.jw{" + DARK + ";color-scheme:dark}}"
    "[data-jp-theme-light=false] .jw,.vscode-dark .jw{" + DARK + ";color-scheme:dark}"
    "[data-jp-theme-light=true] .jw,.vscode-light .jw{" + LIGHT + ";box-sizing:border-box;color-scheme:light}"
    ".jw *{box-sizing:border-box}"
    ".jw h1,.jw h2{margin:0 0 8px;line-height:1.25;overflow-wrap:anywhere}.jw h1{font-size:22px}.jw h2{font-size:16px}"
    ".jw>header,.jw>article{max-width:1180px;margin:0 auto 20px}"
    ".jw .grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px;align-items:start}"
    ".jw section{background:var(--card);border:1px solid var(--grid);border-radius:8px;padding:14px;min-width:0}"
    ".jw section.whole{grid-column:1/-1}"
    ".jw p,.jw ul{margin:0 0 8px;overflow-wrap:anywhere}.jw ul{padding-left:18px}.jw .muted{color:var(--muted)}"
    ".jw svg{display:block;width:100%;height:auto;max-width:640px;font-family:system-ui,sans-serif;"
    "stroke-linejoin:round}"
    ".jw section.whole svg{margin:0 auto}"
    ".jw table{border-collapse:collapse;width:100%;background:none;color:inherit;font-size:14px;margin:0}"
    ".jw td,.jw th{padding:3px 8px 3px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid);"
    "overflow-wrap:anywhere;font-weight:400;background:none}"
    ".jw td.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums;padding-right:0}"
    ".jw tr:last-child>*{border-bottom:0}.jw thead th{color:var(--muted)}"
    ".jw .badge{display:inline-block;border-radius:6px;padding:1px 9px;border:1px solid;font-weight:600}"
    ".jw .steady{color:var(--good)}.jw .failed,.jw .invalid,.jw .degraded,.jw .contaminated{color:var(--bad)}"
    ".jw .unsteady,.jw .undecided{color:var(--cold)}"
    ".jw .key{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px}"
    ".jw .legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:13px;color:var(--muted);margin-top:6px}"
    ".jw .runs{columns:auto}.jw summary{cursor:pointer}.jw .runs td{padding-right:12px}"
    "body{margin:0}"
)
