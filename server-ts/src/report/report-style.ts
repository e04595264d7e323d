/** Style sheet of the report: light and dark, no outside fonts. */
export const REPORT_STYLE = `
:root { color-scheme: light dark; --ink: #16202e; --soft: #5b6879; --line: #dfe4ea; --paper: #fff; --ground: #f5f7f9; --star: #c96a00; --good: #1a7f4b; --bad: #b3372f; --second: #2f6fb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ecf2; --soft: #97a4b4; --line: #2b3645; --paper: #151c26; --ground: #0d131b; --star: #ffa63d; --good: #57c88a; --bad: #ff8478; --second: #78b2ee; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 44px 0 6px; }
p { margin: 0 0 14px; max-width: 76ch; } .soft, .lead { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin: 26px 0 8px; }
.tile, .panel { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.tile b { display: block; font-size: 26px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.good { color: var(--good); } .bad { color: var(--bad); } .star { color: var(--star); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 14px; }
figure { margin: 0; } .chart { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 14px 14px 8px; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 6px; }
svg { width: 100%; height: auto; display: block; } .grid { stroke: var(--line); } .mark { stroke: var(--soft); stroke-dasharray: 3 3; } .tick { fill: var(--soft); font-size: 11px; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.series-0 { stroke: var(--star); color: var(--star); fill: var(--star); } .series-1 { stroke: var(--second); color: var(--second); fill: var(--second); }
circle { stroke: none; } .series-0 polyline, .series-1 polyline { fill: none; }
.legend { margin-left: 12px; font-weight: 400; font-size: 12px; } .legend::before { content: "\\2022  "; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; font-size: 13px; color: var(--soft); } tr:last-child td { border-bottom: 0; } tr.total td { font-weight: 600; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 14px; }
.pair { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 12px; }
.pair .two { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; } .pair img, .step img { width: 100%; display: block; border-radius: 6px; image-rendering: auto; }
.pair p, .story p { margin: 8px 0 0; font-size: 13px; } .mark { font-size: 12px; color: var(--soft); }
.story { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 16px; margin-bottom: 14px; }
.steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(108px, 1fr)); gap: 10px; margin-top: 12px; }
.overlay { position: relative; } .overlay img + img { position: absolute; inset: 0; height: 100%; image-rendering: pixelated; }
.step { font-size: 12px; color: var(--soft); } mark { background: color-mix(in srgb, var(--star) 30%, transparent); color: inherit; border-radius: 3px; padding: 0 2px; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 6px 14px; align-items: center; font-size: 13px; font-variant-numeric: tabular-nums; }
.bar { height: 12px; border-radius: 6px; background: var(--second); min-width: 2px; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 16px; overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Consolas, monospace; margin: 8px 0; }
details { margin-top: 12px; } summary { cursor: pointer; font-weight: 600; }
@media print { body { background: #fff; } .panel, .tile, .chart, .pair, .story { break-inside: avoid; } }
`;
