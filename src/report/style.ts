/** The report's style sheet: system fonts with Chinese ones, light and dark, one column on a phone. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fbfaf7; --card: #ffffff; --text: #1f2328; --quiet: #656d76; --line: #e2dfd8;
  --right: #17703a; --right-border: #17803d; --series-0: #1f66b0; --series-1: #c4560f; --series-2: #17803d; --series-3: #8a3fb0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181b; --card: #1e2125; --text: #e7e5e0; --quiet: #a0a6ad; --line: #363b41;
    --right: #63d58c; --right-border: #2fae62; --series-0: #6cb1f5; --series-1: #f5a05c; --series-2: #6bd58e; --series-3: #cf9af0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text); line-height: 1.5; font-size: 1rem;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", sans-serif;
  -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 44rem; }
.quiet, figcaption, small { color: var(--quiet); }
small { font-size: .8125rem; font-weight: normal; }
img { max-width: 100%; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0; }
.tiles div, .card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .875rem 1rem; }
.tiles dt { color: var(--quiet); font-size: .8125rem; }
.tiles dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles small { display: block; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .375rem .5rem; border-top: 1px solid var(--line); vertical-align: baseline; }
table { border-bottom: 1px solid var(--line); }
thead th { border-top: 0; }
th:first-child { padding-left: 0; }
td:last-child, thead th:last-child { padding-right: 0; }
thead th { color: var(--quiet); font-size: .8125rem; font-weight: normal; }
th { text-align: left; font-weight: 600; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; }
.numbers td { white-space: nowrap; }
.numbers small { white-space: nowrap; }
.numbers th small { display: block; }
.text td { overflow-wrap: anywhere; }
.text tbody th { max-width: 12rem; overflow-wrap: break-word; }
.confusions tbody th { overflow-wrap: anywhere; }
tr.secondary > * { border-top: 0; padding-top: 0; color: var(--quiet); font-weight: normal; font-size: .875rem; }

.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .75rem; }
.grid > * { min-width: 0; }
figure { margin: 0; }
.single { max-width: 34rem; }
@media (max-width: 30rem) {
  .numbers .secondary td, .numbers small { white-space: normal; }
  .numbers th:not(:first-child), .numbers td { padding-left: .25rem; }
  .numbers th:not(:last-child), .numbers td:not(:last-child) { padding-right: .25rem; }
}

.chart figcaption { color: var(--text); font-weight: 600; margin-bottom: .25rem; }
.chart svg { display: block; width: 100%; height: auto; font-size: 12px; }
@media (max-width: 30rem) { .chart svg { font-size: 14px; } }
.chart text { fill: var(--quiet); }
.chart .grid-line { stroke: var(--line); }
.chart .axis { stroke: var(--quiet); }
.chart .boundary { stroke: var(--quiet); stroke-dasharray: 3 3; }
.chart .line { fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
.chart .legend { display: flex; flex-wrap: wrap; gap: 0 1rem; margin: 0 0 .25rem; padding: 0; list-style: none; font-size: .8125rem; }
.chart .legend svg { display: inline-block; width: 1.75rem; height: .625rem; margin-right: .375rem; }
.series-0 { stroke: var(--series-0); } .series-1 { stroke: var(--series-1); stroke-dasharray: 7 4; }
.series-2 { stroke: var(--series-2); stroke-dasharray: 2 4; } .series-3 { stroke: var(--series-3); stroke-dasharray: 9 3 2 3; }
circle.series-0 { fill: var(--series-0); } circle.series-1 { fill: var(--series-1); }
circle.series-2 { fill: var(--series-2); } circle.series-3 { fill: var(--series-3); }

.results { display: grid; grid-template-columns: repeat(5, 1fr); gap: .5rem; margin: .625rem 0 0; padding: 0; list-style: none; }
.results li { text-align: center; overflow-wrap: anywhere; font-size: .8125rem; color: var(--quiet); min-width: 0; }
.results img {
  display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #ffffff; padding: 3px;
  border: 1px solid var(--line); border-radius: .375rem; margin-bottom: .125rem;
}
.results .right { color: var(--right); font-weight: 600; }
.picture-query { overflow-wrap: anywhere; display: grid; grid-template-columns: 6.5rem 1fr; gap: 1rem; align-items: start; }
.picture-query img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #ffffff; border: 1px solid var(--line); border-radius: .375rem; padding: 3px; }
.picture-query ol, .picture-query p { margin: .25rem 0 0; overflow-wrap: anywhere; font-size: .9375rem; }
.picture-query ol { padding: 0 0 0 1.5rem; }
.picture-query .right { color: var(--right); font-weight: 600; }
.results .right img { border: 3px solid var(--right-border); padding: 1px; }

a { color: inherit; text-decoration-color: var(--quiet); text-underline-offset: .15em; }
section > h3 { margin: 1.75rem 0 .5rem; }
.bars { margin: .5rem 0 0; padding: 0; list-style: none; }
.bars li { display: grid; grid-template-columns: minmax(4rem, 11rem) 1fr 8.5rem; gap: .75rem; align-items: center; padding: .125rem 0; }
.bars .name { overflow-wrap: anywhere; line-height: 1.25; }
.bars .bar { background: var(--line); border-radius: .1875rem; height: .75rem; overflow: hidden; }
.bars .bar > span { display: block; height: 100%; background: var(--series-0); }
.bars .value { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: .875rem; }
@media (max-width: 30rem) { .bars li { grid-template-columns: 5.5rem 1fr 7.75rem; gap: .5rem; } }
.matrix { display: block; max-width: 100%; height: auto; }
.numbers th a { white-space: nowrap; }
@media (max-width: 30rem) { .numbers th a { display: block; white-space: normal; overflow-wrap: anywhere; min-width: 6rem; } }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .75rem; margin: .625rem 0 0; padding: 0; list-style: none; }
.mistakes li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem; font-size: .8125rem; overflow-wrap: anywhere; min-width: 0; }
.mistakes img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #ffffff; border-radius: .25rem; margin-bottom: .375rem; }
.mistakes strong, .mistakes span, .mistakes small { display: block; }
`;
