"""Small runs of generations in files, for tests of what watches them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def write_tables(
    folder: Path,
    generations: Sequence[int] = range(8),
    shrink: float = 0.7,
    num: int = 120,
    columns: str = "ab",
) -> Path:
    """Write a CSV file for each generation, of which each is `shrink` times as wide as the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for generation in generations:
        frame = pd.DataFrame(shrink**generation * rng.normal(size=(num, len(columns))), columns=[*columns])
        frame.to_csv(folder / f"gen-{generation:02d}.csv", index=False)
    return folder
