// How the page of a plan looks: light and dark by the reader's choice, on a phone, and on paper.

export const style = `
:root{color-scheme:light dark;--ink:#17202a;--soft:#5b6673;--line:#dfe4ea;--paper:#ffffff;--card:#f6f8fa;
--kept:#2a78d6;--forward:#1b9e8a;--again:#e0930f;--backward:#8a63d2;--streamed:#c2573f;--good:#1a7f4b;--bad:#c0362c;--warn:#c0362c;
--p0:#64748b;--p1:#b5679a;--p2:#2a78d6;--p3:#8d9a2c;--p4:#d97757;--p5:#aab4bf}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#9aa6b2;--line:#2c343d;--paper:#12161b;--card:#1a2027;
--kept:#4f93e6;--forward:#2fae99;--again:#d99a2b;--backward:#9d7fe0;--streamed:#e07b63;--good:#4cc38a;--bad:#ff7b72;--warn:#ff7b72;
--p0:#8494a8;--p1:#c77fae;--p2:#4f93e6;--p3:#a3b13e;--p4:#e08a6d;--p5:#5d6874}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:22px;margin:0 0 2px;line-height:1.3;overflow-wrap:anywhere}
h2{font-size:17px;margin:40px 0 6px}
h3{font-size:14px;margin:22px 0 2px;color:var(--soft);font-weight:600}
p{margin:4px 0 10px;color:var(--soft);max-width:100ch}
.verdict{display:flex;flex-wrap:wrap;gap:4px 18px;align-items:baseline;margin:14px 0 10px}
.verdict b{font-size:26px;font-weight:650}
.fits b{color:var(--good)}.over b{color:var(--bad)}
.verdict span{color:var(--soft)}
.shares{display:flex;height:22px;border-radius:4px;overflow:hidden;background:var(--card);box-shadow:inset 0 0 0 1px var(--line)}
.share{height:100%;border-right:1px solid var(--paper)}
.budgetline{position:relative}
.budgetline i{position:absolute;top:-5px;bottom:-5px;border-left:2px solid var(--ink)}
.budgetline em{position:absolute;top:26px;font-style:normal;font-size:12px;color:var(--soft);white-space:nowrap}
.part0{background:var(--p0)}.part1{background:var(--p1)}.part2{background:var(--p2)}.part3{background:var(--p3)}
.part4{background:var(--p4)}.part5{background:var(--p5)}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:10px 0;padding:0;font-size:13px;color:var(--soft)}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px}
i.kept{background:var(--kept)}i.forward{background:var(--forward)}i.again{background:var(--again)}
i.backward{background:var(--backward)}
i.streamed{background:var(--streamed)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);text-align:left;border-bottom:1px solid var(--line);padding:5px 10px 5px 0;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:5px 10px 5px 0;vertical-align:top}
td.n,th.n{text-align:right;white-space:nowrap}
td.bar{min-width:130px;width:24%}
td.bar div{height:10px;border-radius:2px;margin-top:6px}
td.what{overflow-wrap:anywhere;min-width:170px}
code{font:12.5px/1.4 ui-monospace,SFMono-Regular,Menlo,monospace}
.two{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:0 40px}
.chart{overflow-x:auto;margin:2px 0}
svg{display:block;width:100%;min-width:720px;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
svg .strong{fill:var(--ink)}
.grid{stroke:var(--line);stroke-width:1}
.buffer{stroke:var(--paper);stroke-width:.35;fill-opacity:.92}
.buffer:hover{stroke:var(--ink);stroke-width:1.5;fill-opacity:1}
svg .kept{fill:var(--kept)}svg .forward{fill:var(--forward)}svg .again{fill:var(--again)}svg .backward{fill:var(--backward)}svg .streamed{fill:var(--streamed)}
.bound{stroke:var(--ink);stroke-width:1;stroke-dasharray:4 3}
.turn{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}
.budget{stroke:var(--warn);stroke-width:1.5}
.computing{fill:var(--forward)}.waiting{fill:var(--warn);fill-opacity:.35}.read{fill:var(--p4)}.write{fill:var(--p2)}
.good{color:var(--good)}.bad{color:var(--bad)}
details{margin:14px 0}summary{cursor:pointer;color:var(--soft)}
footer{margin-top:44px;font-size:12.5px;color:var(--soft)}
@media (max-width:700px){main{padding:18px 14px 40px}.two{grid-template-columns:1fr}.verdict b{font-size:22px}td.bar{display:none}th:empty{display:none}}
@media print{body{font-size:11px}main{max-width:none;padding:0}svg{min-width:0}.chart,.scroll{overflow:visible}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}h2{break-after:avoid}.chart,tr{break-inside:avoid}}
`
