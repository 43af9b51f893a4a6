"""The page's look: white space and thin rules, colour for verdicts only, light and dark.

Text is 16 px, captions and tables 14, axes 12. Every rule is below `.ablate`, so that a fragment in
a notebook changes nothing else there.
"""

from __future__ import annotations

from typing import Final

_LIGHT: Final = """\
--ink:#15181d;--muted:#59636f;--page:#fff;--rule:#e2e6ea;--strong:#8a949f;--shade:#eef1f5;
--gain:#0b6bb0;--loss:#c2540a;--bar:#b9c0c8;--faint:#7f8995;--edge:#15181d26"""
_DARK: Final = """\
--ink:#e7eaee;--muted:#9ba6b3;--page:#12161c;--rule:#2b333d;--strong:#5f6b78;--shade:#1f2731;
--gain:#6cb6ff;--loss:#ff9e4f;--bar:#4a5562;--faint:#7d8997;--edge:#00000073"""

_RULES: Final = """\
.ablate{color:var(--ink);background:var(--page);
font:16px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%;text-size-adjust:100%;
overflow-wrap:break-word}
.ablate *{box-sizing:border-box}
.ablate section{margin:52px 0 0}
.ablate h1,.ablate h2,.ablate h3,.ablate h4,.ablate h5,.ablate h6{margin:0;line-height:1.25;
font-weight:700;color:var(--ink);overflow-wrap:anywhere}
.ablate .study{font-size:30px;font-weight:400;color:var(--muted);letter-spacing:-.01em}
.ablate .study .name,.ablate h1 .name{font-weight:700;color:var(--ink)}
.ablate h1{font-size:30px;font-weight:400;color:var(--muted)}
.ablate .ablation{font-size:24px;margin:64px 0 -20px;padding-top:20px;
border-top:2px solid var(--ink)}
.ablate .title{font-size:20px;margin:0 0 12px}
.ablate .panel{font-size:14px;margin:18px 0 6px}
.ablate .about,.ablate .unit{color:var(--muted);font-weight:400}
.ablate .title .about{font-size:14px}
.ablate .ablation .about{font-size:16px}
.ablate p{margin:0}
.ablate b{font-weight:650}
.ablate .text{max-width:76ch;margin:0 0 12px}
.ablate .facts{color:var(--muted);font-size:14px;margin:10px 0 14px}
.ablate .caption,.ablate .note{color:var(--muted);font-size:14px;max-width:76ch}
.ablate .caption{margin:12px 0 0}
.ablate .unit{font-size:12px;white-space:nowrap}
.ablate .right{text-align:right}
.ablate nav{border-top:1px solid var(--rule);padding:10px 0 0;font-size:14px}
.ablate header+header,.ablate footer+header{margin-top:52px}
.ablate nav a{color:var(--muted);text-decoration:none;display:inline-block;
padding:2px 20px 2px 0}
.ablate nav a:hover,.ablate nav a:focus{color:var(--ink);text-decoration:underline}
.ablate code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
background:var(--shade);border-radius:3px;padding:1px 4px;overflow-wrap:anywhere}
.ablate table code{white-space:nowrap}
.ablate footer{margin:52px 0 0;border-top:1px solid var(--rule);padding:14px 0 0;
color:var(--muted);font-size:14px}

.ablate .verdicts,.ablate .pair{display:grid;gap:8px 36px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.ablate .verdicts .block{border-top:2px solid var(--ink);padding:0 0 16px;min-width:0}
.ablate .verdicts .panel{color:var(--muted);margin:10px 0 4px}
.ablate .verdicts .note{padding:0 0 12px}
.ablate .verdicts .said{border-top:1px solid var(--rule);padding-top:8px}
.ablate .total .big{font-size:34px;line-height:1.2;font-weight:700;letter-spacing:-.01em}
.ablate .total .big.about{color:var(--muted);font-size:24px;margin:0}
.ablate p.total span.about{font-size:18px;margin-left:4px}
.ablate ul.said{list-style:none;margin:0;padding:0;font-size:15px}
.ablate .said li{display:grid;grid-template-columns:20px minmax(0,1fr);padding:3px 0}
.ablate .said .about,.ablate .said .name{white-space:nowrap}
.ablate .said.small{font-size:14px;margin-top:8px;overflow-wrap:anywhere}
.ablate .said .icon{margin-top:5px}
.ablate .said span.icon{margin-top:0}
.ablate .icon{vertical-align:-1.5px;overflow:visible;margin-right:6px;display:inline-block;
flex:none}
.ablate span.icon{width:13px;text-align:center;color:var(--muted);vertical-align:0}
.ablate .sign{fill:var(--ink);stroke:none}
.ablate .sign.gain{fill:var(--gain)}
.ablate .sign.loss{fill:var(--loss)}
.ablate .sign.hollow{fill:var(--page);stroke:var(--muted);stroke-width:1.6}
.ablate .at{overflow:visible}

.ablate .legend{display:flex;flex-wrap:wrap;gap:4px 20px;color:var(--muted);font-size:14px;
margin:0 0 4px}
.ablate .legend span{display:inline-flex;align-items:center}
.ablate .legend b{color:var(--ink);margin-right:6px}
.ablate .swatch{margin-right:6px;flex:none}

.ablate svg text{font-size:12px;fill:var(--muted)}
.ablate text.mid{text-anchor:middle}
.ablate text.end{text-anchor:end}
.ablate .grid{stroke:var(--rule);stroke-width:1}
.ablate .zero{stroke:var(--strong);stroke-width:1}
.ablate .margin{fill:var(--shade)}
.ablate .thin,.ablate .thick,.ablate .error{stroke:var(--muted);stroke-width:1.5}
.ablate .thick{stroke-width:4}
.ablate .gain.thin,.ablate .gain.thick,.ablate .gain.error{stroke:var(--gain)}
.ablate .loss.thin,.ablate .loss.thick,.ablate .loss.error{stroke:var(--loss)}
.ablate .seed{fill:var(--faint)}
.ablate .lead{stroke:var(--strong);stroke-width:1}
.ablate .link{stroke:var(--strong);stroke-width:1;stroke-dasharray:2 3}
.ablate .plot{position:relative;min-width:0}
.ablate .plot svg{display:block}
.ablate .plot>svg{position:absolute;left:0;top:0;width:100%;height:100%;overflow:visible}

.ablate .rows{font-size:14px}
.ablate .row{display:grid;column-gap:16px;align-items:stretch}
.ablate .row>span{padding-top:3px}
.ablate .forest .row{grid-template-columns:
minmax(5rem,min(var(--label),26%)) minmax(0,1fr) max(var(--number),7.5rem) 14rem}
.ablate .forest .row.total{border-top:1px solid var(--rule)}
.ablate .row.total .label,.ablate .total .verdict.gain,.ablate .total .verdict.loss{font-weight:650}
.ablate .row.scale>span{padding-top:0}
.ablate .number{white-space:nowrap}
.ablate .verdict .icon{margin-right:3px}
.ablate .waterfall .row{grid-template-columns:
minmax(4rem,min(var(--label),38%)) minmax(0,1fr) var(--number);column-gap:12px}
.ablate .waterfall .row>span{padding-top:6px}
.ablate .waterfall .row.scale>span{padding-top:0}
.ablate .bar{fill:var(--bar)}
.ablate .bar.gain{fill:var(--gain)}
.ablate .bar.loss{fill:var(--loss)}
.ablate .whisker{stroke:var(--ink);stroke-width:1.2}

.ablate .panels{display:grid;gap:14px 22px;align-items:end;
grid-template-columns:repeat(4,minmax(0,1fr))}
.ablate .small{min-width:0}
.ablate .small .head{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 8px;
font-size:13px;line-height:1.3;padding:4px 0 6px 36px}
.ablate .small .head b{max-width:100%}
.ablate .long{overflow-wrap:anywhere}
.ablate .small>div{display:grid;grid-template-columns:30px minmax(0,1fr);column-gap:6px}
.ablate .small>div>div{position:relative;overflow:hidden}
.ablate .small>div+div{margin-top:6px}
.ablate .small svg{display:block}
.ablate .behind{position:absolute;left:0;top:0}
.ablate .small>div>div>svg+svg{position:relative}
.ablate .store{position:absolute}
.ablate .heights{overflow:visible}
.ablate .curve{fill:none;vector-effect:non-scaling-stroke}
.ablate .seeds,.ablate .mean{stroke:var(--ink);stroke-linejoin:round;fill:none}
.ablate .seeds{stroke-width:1;stroke-opacity:.28}
.ablate .mean{stroke-width:2}
.ablate .other{stroke:var(--faint)}
.ablate .gain.seeds,.ablate .gain.mean{stroke:var(--gain)}
.ablate .loss.seeds,.ablate .loss.mean{stroke:var(--loss)}

.ablate .chart{display:flex;gap:6px}
.ablate .chart>svg{display:block;overflow:visible;min-width:0}
.ablate .chart>svg:first-child{flex:none}
.ablate .block{min-width:0}
.ablate text.halo{fill:var(--ink);paint-order:stroke;stroke:var(--page);stroke-width:4px;
stroke-linejoin:round}

.ablate details{margin:10px 0 0}
.ablate summary{cursor:pointer;font-size:15px;padding:4px 0;width:fit-content}
.ablate .scroll{overflow-x:auto;margin:10px 0 0;background:
linear-gradient(to left,var(--page) 40%,transparent) 100% 0/36px 100% no-repeat local,
linear-gradient(to left,var(--edge),transparent) 100% 0/12px 100% no-repeat scroll}
.ablate table{border-collapse:collapse;width:100%;font-size:14px;color:var(--ink);border:0;
background:none;margin:0}
.ablate caption{text-align:left;font-weight:650;padding:10px 0 6px;caption-side:top;
color:var(--ink)}
.ablate th,.ablate td{text-align:left;font-weight:400;padding:7px 16px 7px 0;white-space:nowrap;
vertical-align:baseline;border:0;border-bottom:1px solid var(--rule);background:none}
.ablate th.r,.ablate td.r{text-align:right}
.ablate th:last-child,.ablate td:last-child{padding-right:2px}
.ablate thead th{color:var(--muted);border-bottom:1px solid var(--strong);vertical-align:bottom}
.ablate tbody th{font-weight:550}
.ablate tr.foot th,.ablate tr.foot td{font-weight:650;border-bottom:0}
.ablate tr>th:first-child{position:sticky;left:0;background:var(--page);white-space:normal;
padding-right:14px}
.ablate th .long{display:block;min-width:8rem;max-width:min(20rem,40vw)}
.ablate .words td{white-space:normal;overflow-wrap:anywhere;min-width:6.5rem}
.ablate table.epochs{width:auto;font-size:13px}
.ablate table.epochs th,.ablate table.epochs td{text-align:right;padding:2px 14px 2px 0}
.ablate table.epochs tr>th:first-child{min-width:3.5rem;text-align:left}
.ablate dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:4px 20px;margin:0 0 12px;
font-size:14px}
.ablate dt{color:var(--muted)}
.ablate dd{margin:0;overflow-wrap:anywhere}
.ablate :focus-visible{outline:2px solid var(--gain);outline-offset:2px}

@media (max-width:900px){.ablate .panels{grid-template-columns:repeat(3,minmax(0,1fr))}
.ablate .forest .row{grid-template-columns:
minmax(5rem,min(var(--label),24%)) minmax(0,1fr) max(var(--number),7.5rem) 9.5rem;column-gap:12px}}
@media (max-width:640px){
.ablate .study .name{display:block}
.ablate .panels{grid-template-columns:repeat(2,minmax(0,1fr));gap:14px}
.ablate .small .head{padding-left:0}
.ablate .spare{display:none}
.ablate .small>div{grid-template-columns:26px minmax(0,1fr);column-gap:4px}
.ablate .forest .row{grid-template:"label verdict" auto "plot plot" auto "number number" auto/
minmax(0,1fr) auto;border-top:1px solid var(--rule);padding:6px 0 8px}
.ablate .forest .row .label{grid-area:label}
.ablate .forest .row .plot{grid-area:plot}
.ablate .forest .row .number{grid-area:number;padding-top:0}
.ablate .forest .row .verdict{grid-area:verdict;text-align:right}
.ablate .forest .row.scale{grid-template:"plot" auto "unit" auto/minmax(0,1fr);padding-bottom:0}
.ablate .forest .row.scale>span{display:none}
.ablate .forest .row.scale>.unit{display:block;grid-area:unit}
.ablate .said .about,.ablate .said .name{white-space:normal}
.ablate .waterfall .row{grid-template-columns:
minmax(4rem,min(var(--label),34%)) minmax(0,1fr) var(--number);column-gap:8px}
.ablate .words td{min-width:5.2rem}
.ablate dl{grid-template-columns:minmax(0,1fr);gap:0}
.ablate dd{margin:0 0 6px}
.ablate th,.ablate td{padding-right:12px}}
@media print{.ablate nav{display:none}
.ablate section{margin-top:28px}
.ablate .row,.ablate .small,.ablate .block,.ablate tr{break-inside:avoid}
.ablate h2,.ablate h3,.ablate h4,.ablate h5{break-after:avoid}
.ablate .scroll{overflow:visible;background:none}
.ablate th,.ablate td{white-space:normal;padding-right:10px}
.ablate table{font-size:11px}
.ablate *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

_PAGE: Final = """\
body.ablate{max-width:1120px;margin:0 auto;padding:40px 20px 56px}
html{background:var(--page);scroll-behavior:smooth}
@media (max-width:640px){body.ablate{padding:24px 16px 40px}}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
"""

# A notebook's theme is its own, whatever the system's is.
_THEMES: Final = f"""\
body[data-jp-theme-light="false"] .ablate,body.vscode-dark .ablate{{{_DARK}}}
body[data-jp-theme-light="true"] .ablate,body.vscode-light .ablate{{{_LIGHT}}}
.ablate.notebook{{padding:4px 12px 12px;max-width:1080px}}
.ablate.notebook section{{margin-top:28px}}
.ablate.notebook .ablation{{border:0;margin:8px 0 -8px;padding:0;font-size:20px}}
"""


def _variables(where: str) -> str:
    return (
        f"{where}{{color-scheme:light dark;{_LIGHT}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{{where}{{{_DARK}}}}}\n"
    )


STYLE: Final = _variables(":root") + _RULES + _PAGE
NOTEBOOK: Final = _variables(".ablate") + _RULES + _THEMES
