/** How the HTML report looks, in light and dark. */

/** Okabe and Ito 2008, https://jfly.uni-koeln.de/color/, which color-blind readers tell apart; darker or lighter as the ground asks. */
const LIGHT = ["#0072b2", "#c25b00", "#00795a", "#a64d87", "#4a4a4a", "#2f8fc9", "#8f6f00", "#7a5195"];
const DARK = ["#56b4e9", "#e69f00", "#2bc79a", "#e39ac6", "#c9d1d9", "#7fb2ff", "#f0e442", "#b79be0"];

const colors = (list: readonly string[]): string =>
  list.map((color, i) => `.c${i} { --line: ${color}; }`).join(" ");

export const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #57606a; --rule: #d0d7de; --band: #f6f8fa; --heat: #0072b2; --best: #e6f1fa; }
${colors(LIGHT)}
@media (prefers-color-scheme: dark) {
:root { --ink: #e6edf3; --paper: #0d1117; --soft: #9da7b1; --rule: #30363d; --band: #161b22; --heat: #3d8fd1; --best: #10304d; }
${colors(DARK)}
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { margin: 0.2em 0; } h1 small, h2 small { color: var(--soft); font-weight: normal; font-size: 0.6em; margin-left: 0.5em; }
h2 { margin: 2.2em 0 0.4em; border-top: 1px solid var(--rule); padding-top: 0.8em; }
h3 { margin: 1.4em 0 0.3em; font-size: 1em; }
p { max-width: 75ch; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 4px 9px; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
tbody th, thead th:first-child { text-align: left; font-weight: normal; }
thead th { color: var(--soft); font-weight: normal; vertical-align: bottom; }
.wide th:first-child { position: sticky; left: 0; background: var(--paper); }
tr.zero-shot, tr.local, tr.centralized, tr.zero-shot th:first-child, tr.local th:first-child, tr.centralized th:first-child { background: var(--band); }
td.best { font-weight: 700; background: var(--best); }
td.span, td.word { text-align: left; }
td.failed { color: var(--soft); font-style: italic; }
td small { color: var(--soft); font-size: 0.85em; }
td.heat { background: color-mix(in srgb, var(--heat) calc(var(--of) * 0.55%), transparent); }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
.legend, .note { color: var(--soft); }
.note { border-left: 3px solid var(--rule); padding-left: 12px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 20px; margin: 16px 0; }
.charts svg { width: 100%; height: auto; display: block; }
.charts.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .title { font-weight: 600; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .line { fill: none; stroke: var(--line); stroke-width: 2; }
svg .mark { fill: var(--line); stroke: var(--paper); stroke-width: 0.8; }
svg .baseline { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 3 3; }
.heats { display: flex; flex-wrap: wrap; gap: 4px 32px; align-items: flex-start; }
.heats .wide { max-width: 100%; }
details { margin: 12px 0; }
summary { cursor: pointer; color: var(--soft); }
pre { background: var(--band); padding: 12px; overflow-x: auto; }
@media (max-width: 640px) { main { padding: 12px 12px 40px; } .wide th:first-child { white-space: normal; width: 34vw; min-width: 34vw; } th, td { padding: 4px 6px; } }
@media print { details { display: block; } }
`;
