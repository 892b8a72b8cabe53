"""The ways of mixing that advice is given on, by name; no JAX here."""

LABELS = {
    "keep": "real rows kept",
    "fresh": "new real rows",
    "accumulate": "all accumulated",
    "replace": "all replaced",
    "deduplicate": "kept, copies out",
}
"""What model g + 1 is fitted to. keep: the same real rows beside new synthetic ones; fresh: new real rows beside them;
accumulate: the real rows and all synthetic ones so far; replace: new synthetic rows alone; deduplicate: as keep,
where the synthetic rows are copies of real ones, and each real row counts once."""

MOST_GENERATIONS = 100_000
"""Every generation is computed, as often as there are real shares to try."""
