# SPDX-License-Identifier: Apache-2.0
"""The style of the page: one column of cards, system fonts, blue and orange, light or dark as the system prefers."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page: #f5f6f7; --card: #fff; --ink: #1b2228; --soft: #5a6672; --line: #e1e5e9;
  --good: #3672b5; --bad: #c9541a; --other: #a3aeb8; --tint: #eef2f6; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12161a; --card: #1a2026; --ink: #e5e9ed; --soft: #9caab6; --line: #2d363f;
    --good: #6aa5e3; --bad: #f0925a; --other: #63717d; --tint: #222a32; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1024px; margin: 0 auto; padding: 36px 20px 56px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 14px; font-weight: 650; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0; font-weight: 650; }
h3 { font-size: 13px; margin: 0 0 2px; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 4px 0 0; color: var(--soft); max-width: 74ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 20px 22px;
  margin: 18px 0; min-width: 0; }
section > p { margin-bottom: 12px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 10px 28px; margin: 0 0 22px; }
.facts dt { color: var(--soft); font-size: 12.5px; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px; min-width: 0; }
.tile b { display: block; font-size: 25px; line-height: 1.3; font-weight: 620; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; display: block; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.small text { font-size: 11px; }
.mark { text-anchor: end; } .tick { text-anchor: middle; }
.grid { stroke: var(--line); } .base { stroke: var(--soft); stroke-opacity: .6; } .grid, .base { stroke-width: 1; }
.fill.good { fill: var(--good); } .fill.bad { fill: var(--bad); } .fill.other { fill: var(--other); }
.fill.partial { fill-opacity: .45; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; stroke: var(--good); }
.line.high { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 5 4; stroke-linecap: butt; }
.dot { fill: var(--good); } .dot.high { fill: var(--ink); }
.hit { fill: transparent; } .hit:hover { fill: var(--ink); fill-opacity: .07; }
.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin: 0 0 6px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 7px; }
.legend .good { background: var(--good); } .legend .bad { background: var(--bad); }
.legend .other { background: var(--other); }
.legend .median, .legend .high { height: 0; width: 20px; border-radius: 0; vertical-align: middle; }
.legend .median { border-top: 2px solid var(--good); } .legend .high { border-top: 2px dashed var(--ink); }
h3.plot { margin: 18px 0 4px; }
.scroll { overflow-x: auto; margin: 0 -22px; padding: 0 22px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: right; font-weight: 500; font-size: 12.5px; color: var(--soft); white-space: nowrap; }
th, td { padding: 6px 0 6px 22px; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 150px; }
td small { display: block; color: var(--soft); font-size: 12.5px; line-height: 1.35; }
td.bar { width: 26%; min-width: 110px; padding-top: 11px; }
.bar div { height: 10px; border-radius: 2px; min-width: 2px; background: var(--good); }
.bar .bad { background: var(--bad); }
.growth { display: grid; grid-template-columns: repeat(auto-fill, minmax(264px, 1fr)); gap: 18px 26px;
  margin: 12px 0 20px; }
.growth p { font-size: 12.5px; margin: 0 0 4px; }
.map th, .map td { padding: 2px 1px; border-bottom: 0; text-align: center; }
.map th:first-child, .map td:first-child { padding-right: 14px; min-width: 170px; text-align: left; }
.map i { display: block; height: 18px; min-width: 14px; border-radius: 3px; background: var(--tint); }
.map i.bad { background: var(--bad); }
ul { margin: 8px 0 0; padding-left: 20px; color: var(--soft); }
li { margin: 3px 0; max-width: 80ch; }
@media (max-width: 640px) {
  main { padding: 22px 14px 40px; }
  h1 { font-size: 22px; }
  section { padding: 16px 14px; }
  .scroll { margin: 0 -14px; padding: 0 14px; }
  .wide { display: none; } .narrow { display: block; }
  .facts { grid-template-columns: 1fr 1fr; gap: 8px 16px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; } .tile { padding: 10px 12px; } .tile b { font-size: 20px; }
  th, td { padding-left: 16px; }
  th.bar, td.bar { display: none; }
}
@media print { body { background: none; } section, .tile { break-inside: avoid; } }
"""
