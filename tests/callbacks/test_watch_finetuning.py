"""The worked example at a tiny size: its table, its stop, and its figure."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.parity
EXAMPLE = Path(__file__).parents[2] / "experiments" / "watch_finetuning.py"


def test_two_rounds_of_own_texts(tmp_path):
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("watch_finetuning", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    sizes = example.Sizes(2, texts=32, held_out=16, prompts=8, samples=48, batch=8, learning_rate=3e-3, temperature=0.4)
    told = []
    rows = example.run(sizes, own=True, stop=False, show=told.append)
    assert [row[0] for row in rows] == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2] and len(told) == 2
    assert rows[-1][1] > rows[0][1] and np.isfinite([row[1] for row in rows]).all()
    alarm, _ = example.answer(rows)
    assert 0 < alarm <= 2  # cold samples and long steps leave little of it
    stopped = example.run(sizes, own=True, stop=True, show=told.append)
    assert stopped[-1][0] == alarm and stopped[1:] == rows[1 : len(stopped)]
    example.draw({"own texts": rows, "real texts": rows}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"watch_finetuning.png", "watch_finetuning.svg"}
