"""The style of a report's page."""

from typing import Final

STYLE: Final = """
:root { --ink: #1c2126; --soft: #59636e; --paper: #ffffff; --line: #d5dae0; --tint: #f4f6f8; --link: #1a62a8;
  --differs: #b3261e; --found: #1a62a8; --whom: #59636e; --beware: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ec; --soft: #a3adb8; --paper: #14181c; --line: #343b43;
  --tint: #1d2329; --link: #7db8f0; --differs: #ff8a80; --found: #7db8f0; --whom: #a3adb8; --beware: #e6b450; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, ul { margin: .6rem 0; max-width: 48rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.lead { display: grid; grid-template-columns: 5.5rem 1fr; gap: .8rem; margin: .45rem 0; max-width: none; }
.lead b { font-size: .8rem; line-height: 1.9; color: var(--found); }
.lead.differs b { color: var(--differs); } .lead.whom b { color: var(--whom); } .lead.beware b { color: var(--beware); }
.lead.differs { border-left: 3px solid var(--differs); padding-left: .7rem; margin-left: -.85rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; padding: 0;
  margin: 1.4rem 0 0; font-size: .9rem; }
figure { margin: 1.4rem 0 .4rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .9em; margin-top: .3rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .9rem 0 1.2rem; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line);
  max-width: 26rem; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; border-bottom-width: 2px;
  overflow-wrap: normal; }
tbody th { font-weight: 500; min-width: 7rem; }
td.n { white-space: nowrap; }
details { margin: .9rem 0; } summary { cursor: pointer; color: var(--link); font-size: .9rem; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto;
  font-size: .85rem; line-height: 1.5; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 40rem) { .lead { grid-template-columns: 1fr; gap: 0; } }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --tint: #fff; --link: #000;
    --differs: #8c1d18; --found: #000; --whom: #444; --beware: #5c3c00; }
  @page { margin: 16mm 14mm; }
  body { font-size: 10pt; } main { max-width: none; padding: 0; } nav, details:not([open]) { display: none; }
  .wide { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding-right: .35rem; } td.n { white-space: normal; }
  thead { display: table-header-group; } tr, figure, .lead { break-inside: avoid; } h2 { break-after: avoid; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } }
""".strip()
"""Light and dark by what the reader's system says; paper is light, and leaves out what is folded."""
