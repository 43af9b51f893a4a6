"""The tables of the reference transcripts: seeds made up so that their numbers come out."""

from __future__ import annotations

from ablate.report import build_tables, render_terminal
from tests.helpers.report_studies import GROUP1, State, key, results, study, table

LABELS = [row[0] for row in GROUP1]
SECONDS = dict(zip(LABELS, (8.0, 8.0, 4.1, 4.18, 4.18), strict=True))
NETTE = {
    "baseline": (90.14, 89.7, 89.44),
    "+ warmup": (89.8, 90.22, 90.41),
    "+ fp16": (90.37, 90.11, 89.76),
    "+ mixup": (90.46, 90.07, 90.66),
    "+ zero_gamma": (91.91, 91.33, 91.62),
}
WOOF = {
    "baseline": (77.94, 78.22, 77.84),
    "+ warmup": (79.19, 78.64, 79.41),
    "+ fp16": (78.55, 79.89, 79.58),
    "+ mixup": (78.66, 78.11, 77.89),
    "+ zero_gamma": (80.1, 80.49, 80.7),
}


def nette():
    top5 = dict(zip(LABELS, (98.7, 98.8, 98.7, 98.9, 99.1), strict=True))
    done = results(NETTE, top5=top5, seconds=SECONDS)
    return build_tables(study(table(GROUP1)), done, {})


def woof():
    top5 = dict(zip(LABELS, (96.9, 97.1, 97.2, 97.0, 97.4), strict=True))
    done = results(WOOF, top5=top5, seconds=SECONDS, dataset="imagewoof")
    failed = key("+ zero_gamma", 1, "imagewoof")
    del done[failed]
    states = {failed: State("oom", "out of memory; 0.9 GiB free")}
    return build_tables(study(table(GROUP1, dataset="imagewoof")), done, states)


def one_seed():
    values = dict(zip(LABELS, ((78.2,), (79.0,), (79.12,), (77.93,), (80.6,)), strict=True))
    top5 = dict(zip(LABELS, (96.9, 97.0, 97.0, 96.8, 97.3), strict=True))
    done = results(values, top5=top5, seconds=SECONDS)
    return build_tables(study(table(GROUP1, 1)), done, {})


def show(tables, width=100, **more):
    more = {"color": False, "ascii": False} | more
    return render_terminal(tables, width=width, **more)


NETTE_100 = """\
imagenette    top-1 %    Δ row above                                      Δ  top-5  time per
              ±sd        [95% interval]     verdict                    base      %  epoch
───────────────────────────────────────────────────────────────────────────────────────────────
baseline      89.8 ±0.4                                                       98.7  8.0 s
+ warmup      90.1 ±0.3  +0.4 [−0.4, +1.2]  ○ unresolved               +0.4   98.8  8.0 s ×1.00
+ fp16        90.1 ±0.3  −0.1 [−0.9, +0.7]  ○ unresolved               +0.3   98.7  4.1 s ×0.51
+ mixup       90.4 ±0.3  +0.3 [−0.4, +1.0]  ○ unresolved               +0.6   98.9  4.2 s ×1.02
+ zero_gamma  91.6 ±0.3  +1.2 [+0.7, +1.8]  ▲ gain                     +1.9   99.1  4.2 s ×1.00
───────────────────────────────────────────────────────────────────────────────────────────────
all 4 tricks             +1.9 [+1.3, +2.4]  ▲ gain                                        ×0.52
± sd over n = 3 seeds · Δ over the same seeds, moderated 95% interval (5 df) · verdicts
Holm-corrected over 5 comparisons, equivalent = within ±0.5 · could see about 1.1 to 1.7 points
(80% power); ±0.5 needs 11 to 50 seeds · last epoch · RTX 4090
"""

NASTY = "a|b`c<img src=x>*_d_\u202e\x1b[2J\n"
MARKDOWN = """\
### group1 on imagenette

| row | top-1 % | Δ row above [95%] | verdict | Δ baseline [95%] | top-5 % | time/epoch |
| :-- | --: | --: | :-- | --: | --: | --: |
| baseline | 89.8 ± 0.4 | | | | 98.7 | 8.0 s |
| + warmup | 90.1 ± 0.3 | +0.4 [−0.4, +1.2] | unresolved | +0.4 [−0.4, +1.2] | 98.8 | \
8.0 s (×1.00) |
| + fp16 | 90.1 ± 0.3 | −0.1 [−0.9, +0.7] | unresolved | +0.3 [−0.2, +0.8] | 98.7 | 4.1 s (×0.51) |
| + mixup | 90.4 ± 0.3 | +0.3 [−0.4, +1.0] | unresolved | +0.6 [−0.1, +1.3] | 98.9 | 4.2 s (×1.02) |
| + zero_gamma | 91.6 ± 0.3 | +1.2 [+0.7, +1.8] | gain | +1.9 [+1.3, +2.4] | 99.1 | 4.2 s (×1.00) |
| **all 4 tricks** | | | **gain** | +1.9 [+1.3, +2.4] | | (×0.52) |

Top-1 at the last of 20 epochs, mean ± standard deviation over n = 3 seeds (0–2). \
Δ: mean difference over the same seeds, 95% interval from its own seeds and the noise of all rows \
(moderated t, 5 df), not corrected. Verdicts: Holm-corrected over 5 comparisons, p < .05; \
equivalent: 90% interval within ±0.5 points. This table could see differences from about 1.1 to \
1.7 points with 80% power; the declared ±0.5 needs 11 to 50 seeds. × is against the row above.

resnet50_v1, batch 64, 160 px, fast numerics; 1 × NVIDIA RTX 4090, torch 2.8.0, ablate 0.1.0. \
`ablate run studies/group1.toml`
"""
