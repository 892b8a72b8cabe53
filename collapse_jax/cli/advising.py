"""The command that advises: what mixing synthetic rows into real ones will cost, before anything is trained.

JAX is imported by the functions, not by this file.
"""

import json
import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from collapse_jax.cli.display import note, one_line
from collapse_jax.drivers.machine import start_jax

if TYPE_CHECKING:
    from collapse_jax.advice.measure import Measured

_WIDTH = 80
_MOST_ROWS = 100_000  # of each file: standard errors of half a per cent


def advise_mixing(arguments: list[str]) -> int:
    """Say what is lost, and what would be best; return the exit code."""

    def advise(
        real: int, synthetic: int, generations: int, regime: str = "keep", bias: float | None = None,
        effective_share: float | None = None, target: float = 0.9, measure: Path | None = None,
        reference: Path | None = None, json: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """What is lost when real rows are mixed with rows that models draw, and what share is best.

        Args:
            real: real rows that the first model is fitted to.
            synthetic: rows that each model draws for the next.
            generations: models after the first.
            regime: keep, fresh, accumulate, replace or deduplicate: what becomes of the real rows.
            bias: variance of a model's draws over the fitted one; by default 1, or what --measure finds.
            effective_share: rows that one row counts for; by default 1, or what --measure finds.
            target: share of the variance that must be left.
            measure: a file of rows that your model drew, numbers; with --reference.
            reference: a file of real rows that it was not trained on.
            json: write one JSON document.
        """
        return dict(locals())

    asked = tyro.cli(advise, args=arguments, prog="collapse-jax advise")
    as_json, drawn, held_out = (asked.pop(name) for name in ("json", "measure", "reference"))
    if (drawn is None) != (held_out is None):
        raise ValueError(
            "--measure FILE of a model's rows and --reference FILE of real rows go together; give both."
        )
    found = None if drawn is None else _measure(drawn, held_out)
    taken = {"bias": 1.0, "effective_share": 1.0} if found is None else _taken(found, asked["real"])
    for name, value in taken.items():
        asked[name] = value if asked[name] is None else asked[name]

    start_jax()
    from collapse_jax.advice.advise import advise as advised

    advice = advised(**asked)
    if as_json:
        measured = None if found is None else {k: _finite(v) for k, v in found._asdict().items()}
        print(
            json.dumps(
                {**advice.as_json(), "measured": measured}, ensure_ascii=False, allow_nan=False, indent=2
            )
        )
    else:
        print("\n".join([*advice.lines(), *([] if found is None else _told(found, asked))]))
    return 0


def _measure(drawn: Path, held_out: Path) -> "Measured":
    """Return what two files tell of a model."""
    from collapse_jax.advice.measure import measure

    return measure(_rows("--measure", drawn), _rows("--reference", held_out))


def _rows(option: str, path: Path) -> Any:
    """Return the numbers of a file."""
    from collapse_jax.sources.reading import read_samples

    sample = read_samples(path, max_rows=_MOST_ROWS)
    for told in sample.notes:
        note(one_line(f"{path.name}: {told}"))
    if isinstance(sample.values, list) or getattr(sample.values, "ndim", 2) != 2:
        raise ValueError(
            f"{option} needs rows and columns of numbers, and {path.name} holds texts or images; name a table, or a "
            "file of their features."
        )
    return sample.values


def _taken(found: "Measured", real: int) -> dict[str, float]:
    """Return the bias and the effective share that are reckoned with: what cannot be told from none is none."""
    shown = not found.bias_low <= 1 <= found.bias_high
    less = found.effective_high < real
    return {
        "bias": found.bias if shown else 1.0,
        "effective_share": found.effective_size / real if less else 1.0,
    }


def _told(found: "Measured", asked: dict[str, Any]) -> list[str]:
    """Return what was measured, and what was reckoned with."""
    size, low, high = (f"{value:,.0f}" if math.isfinite(value) else "infinite" for value in found[3:])
    told = (
        f"Measured: bias {found.bias:.3g} ({found.bias_low:.3g} to {found.bias_high:.3g}), effective size {size} "
        f"({low} to {high}); reckoned with bias {asked['bias']:.3g} and effective share {asked['effective_share']:.3g}."
    )
    if found.effective_low > asked["real"]:
        told += " The means are nearer than a fit can come: was the model trained on the reference?"
    return textwrap.wrap(told, _WIDTH)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
