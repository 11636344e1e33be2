"""The style sheet of all pages: phone first, light and dark, and for printing."""

from typing import Final

from fluxfast.report.heat import COLOURS, LEGEND


def _rgba(level: int) -> str:
    red, green, blue, opacity = COLOURS[level]
    return f"rgba({red},{green},{blue},{opacity / 255:.2f})"


STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b2430;--faint:#5f6b7a;--rule:#e3e7ec;--tile:#f4f6f9;
--grid:#c2410c;--battery:#2563eb;--load:#7b8794;--good:#15703a;--warn:#b45309;--absent:rgba(120,120,130,.14);
--row:1.25rem}
@media screen and (prefers-color-scheme:dark){:root{--page:#12161c;--ink:#e6eaf0;--faint:#9aa5b4;
--rule:#2a323d;
--tile:#1b212a;--grid:#fb923c;--battery:#60a5fa;--load:#8b97a6;--good:#4ade80;--warn:#fbbf24;
--absent:rgba(160,160,175,.14)}}
*{box-sizing:border-box;margin:0;padding:0}
body{background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;max-width:1080px;margin:0 auto;
padding:20px 16px 40px;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
header{margin-bottom:16px}
h2,h2+.note,figcaption,.legend,thead{break-after:avoid}
h1{font-size:1.6rem;line-height:1.2;letter-spacing:-.01em}
h2{font-size:1.05rem;line-height:1.3}
header p,figcaption p,.note{color:var(--faint);font-size:.87rem}
a{color:var(--battery)}
nav{font-size:.87rem;margin-bottom:6px}
section .tiles{margin:8px 0 14px}
section,figure{margin-top:30px;break-inside:avoid}
.tiles{display:grid;grid-template-columns:repeat(2,1fr);gap:8px;list-style:none}
.tiles li{background:var(--tile);border-radius:8px;padding:10px 12px;break-inside:avoid}
.tiles span{display:block;color:var(--faint);font-size:.8rem}
.tiles b{display:block;font-size:1.25rem;font-weight:650;line-height:1.3;overflow-wrap:normal}
.findings{list-style:none;margin:14px 0 0}
.findings li{padding-left:1.5em;position:relative;margin-top:4px}
.findings li::before{content:"▲";position:absolute;left:0;color:var(--warn);font-size:.8em;top:.15em}
.findings li.well::before{content:"✓";color:var(--good);font-size:1em;top:0}
.findings li.plain::before{content:"•";color:var(--faint);font-size:1em;top:0}
.findings li.well{color:var(--good)}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 10px}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;font-size:.83rem;margin:4px 0 10px}
.legend li::before{content:"";display:inline-block;width:18px;height:3px;border-radius:2px;
background:var(--c);
vertical-align:.22em;margin-right:6px}
.legend li.band::before,.legend li.cell::before{height:11px;vertical-align:-.08em;opacity:var(--o,1)}
.legend li.dash::before{background:repeating-linear-gradient(90deg,var(--c) 0 5px,transparent 5px 8px)}
.grid{--c:var(--grid)}.battery{--c:var(--battery)}.load,.dash{--c:var(--load)}
.battery.outer{--o:.16}.battery.inner{--o:.34}
.plot{position:relative;padding:0 0 22px 46px}
.plot svg{display:block;width:100%;height:190px;overflow:visible}
.values span{position:absolute;left:0;width:40px;text-align:right;transform:translateY(50%);
color:var(--faint);font-size:.75rem;line-height:1;white-space:nowrap}
.values{position:absolute;left:0;top:0;bottom:22px}
.times{position:relative;height:0}
.times span{position:absolute;top:6px;transform:translateX(-50%);color:var(--faint);font-size:.75rem;
line-height:1;white-space:nowrap}
.times .minor,.heat .times .middle{visibility:hidden}
path{vector-effect:non-scaling-stroke;fill:none}
path.rule{stroke:var(--rule);stroke-width:1}
path.zero{stroke:var(--faint);stroke-width:1}
path.line{stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
path.line.load{stroke-width:1.2}
path.line.dash{stroke-dasharray:5 3;stroke-width:1.4}
path.line.thin{stroke-width:1}
path.band{fill:var(--c);opacity:var(--o,.2)}
path.absent{fill:var(--absent)}
.heat{display:grid;grid-template-columns:min(var(--names),26vw) 1fr 4.4em;gap:0 8px;font-size:.78rem}
.heat ol{list-style:none}
.heat li{height:var(--row);line-height:var(--row);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.heat .share{text-align:right}
.heat .cells{position:relative}
.heat img{display:block;width:100%;height:100%;image-rendering:pixelated;print-color-adjust:exact;
-webkit-print-color-adjust:exact}
.heat .lines{position:absolute;inset:0;background:repeating-linear-gradient(var(--page) 0 1px,
transparent 1px calc(var(--row) - 1px),var(--page) calc(var(--row) - 1px) var(--row))}
.heat .times{height:20px;grid-column:2}
.scroll{overflow-x:auto;margin-top:8px}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th{color:var(--faint);font-weight:500;text-align:right;vertical-align:bottom;padding:4px 0 4px 9px;
border-bottom:1px solid var(--rule);white-space:nowrap}
td{text-align:right;padding:4px 0 4px 9px;border-bottom:1px solid var(--rule);white-space:nowrap;
vertical-align:top}
th.text,td.text{text-align:left}
td.text{white-space:normal;min-width:6em}
th:first-child,td:first-child{padding-left:0;text-align:left}
tr.sum td{font-weight:650}
tr{break-inside:avoid}
.bar{display:inline-block;width:3.5em;height:.55em;border-radius:2px;background:var(--rule);margin-right:8px;
print-color-adjust:exact;-webkit-print-color-adjust:exact;overflow:hidden}
td .share{display:inline-block;min-width:4.2em}
.scroll .bar{display:none}
.bar i{display:block;height:100%;background:var(--battery)}
.bar.low i{background:var(--warn)}
.shares{display:grid;gap:14px 40px;grid-template-columns:1fr}
.shares h3{font-size:.87rem;font-weight:500;color:var(--faint);margin-bottom:2px}
footer{margin-top:34px;border-top:1px solid var(--rule);padding-top:10px;color:var(--faint);font-size:.8rem}
footer p{margin-top:4px}
.wide{display:none}
@media (min-width:640px){.tiles{grid-template-columns:repeat(4,1fr)}
.times .minor,.heat .times .middle{visibility:visible}
body{padding:32px 28px 48px}.plot svg{height:220px}.wide{display:table-cell}
.shares{grid-template-columns:1fr 1fr}
th,td{padding-left:16px}.scroll .bar{display:inline-block}}
@media (min-width:900px){.pair{display:grid;grid-template-columns:1fr 1fr;gap:0 40px}h1{font-size:1.9rem}}
@media print{@page{size:A4;margin:14mm}body{max-width:none;padding:0;font-size:10.5pt}
.scroll{overflow:visible}
.tiles{grid-template-columns:repeat(4,1fr)}.tiles li{border:1px solid var(--rule)}.plot svg{height:170px}
.wide{display:table-cell}.scroll .bar{display:inline-block}
.times .minor,.heat .times .middle{visibility:visible}section,figure{margin-top:20px}nav{display:none}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:0 30px}
.long{break-inside:auto}.shares{grid-template-columns:1fr 1fr}}
""" + "".join(f".cell.l{level}{{--c:{_rgba(level)}}}" for level in LEGEND)
