"""Writes docs/claims.md: how often each claim holds when nothing happens, and when what it states does.

    .venv/bin/python tests/claims_table.py
"""

from pathlib import Path

import numpy as np
from claim_benches import BENCHES
from claim_cases import Bench, Rates, examine, stem

NUM_SETS = 2000
_PAGE = Path(__file__).parent.parent / "docs" / "claims.md"
_COMMAND = ".venv/bin/python tests/claims_table.py"
_INTRODUCTION = f"""# What the claims can tell

A claim has an estimand, one number for each seed, and a region of values for which it is true. Its verdict is "holds"
when the 95 % interval over seeds lies inside the region; so it may hold by chance in 2.5 % of the runs in which nothing
happens, and in fewer when it is judged in its family (Holm). A region does not contain the estimand's value where
nothing happens. A claim of absence ("stays above", "is minor") is true of nothing by its nature: of it the table has
what it denies.

Each line is of {NUM_SETS:,} sets of simulated records with few seeds, each claim judged alone: the share in which it
held where nothing happens, where the estimand lies on the edge of its region, and where there is the stated effect
(power). A share of 0.025 has a standard error of 0.0035, and none one above 0.011. M is that of the records; the claims
are the same at any other.

Made by `{_COMMAND}`. `tests/analysis/test_claims_null.py` holds every claim to this with fewer sets, and
fails for a claim without a line.

| study | claim | nothing happens | the stated effect | seeds | holds of nothing | on the edge | power |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Examine every claim and write the page."""
    lines = []
    for bench in BENCHES:
        found = examine(bench, NUM_SETS, NUM_SETS)
        for name in bench.cases:
            lines += [_line(bench, full, rates) for full, rates in found.items() if stem(full) == name]
    _PAGE.parent.mkdir(exist_ok=True)
    _PAGE.write_text(_INTRODUCTION + "\n".join(lines) + "\n")


def _line(bench: Bench, name: str, rates: Rates) -> str:
    case = bench.cases[stem(name)]
    null = f"{case.null} (it claims an absence)" if case.is_absence else case.null
    edge = "as nothing" if np.isnan(rates.edge) else f"{rates.edge:.3f}"
    words = (bench.study, name, null, case.effect, f"{bench.config.seeds}")
    return f"| {' | '.join(words)} | {rates.nothing:.3f} | {edge} | {rates.power:.3f} |"


if __name__ == "__main__":
    main()
