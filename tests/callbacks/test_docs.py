"""The code of docs/callbacks.md runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
PAGE = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def ran(library, names):
    block = next(block for block in BLOCKS if re.search(rf"^(import|from) {library}\b", block, re.MULTILINE))
    torch.set_num_threads(1)
    exec(compile(block, f"docs/callbacks.md: {library}", "exec"), names)
    return names


def test_transformers(tmp_path):
    pytest.importorskip("accelerate")
    from small_trainer import rows_of, tiny
    from transformers import TrainingArguments

    model, tokenizer = tiny()
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, eval_strategy="steps", eval_steps=1, report_to="none", use_cpu=True,
        save_strategy="no",
    )  # fmt: skip
    rows = rows_of(["The people of the States."] * 8, tokenizer)
    found = ran("transformers", {"model": model, "tokenizer": tokenizer, "rows": rows, "arguments": arguments})
    assert 1 <= len(found["callback"].monitor.readings) <= 2


def test_lightning():
    pytest.importorskip("lightning")
    from test_lightning import Shrinking

    data = torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=4)
    held_out = np.random.default_rng(0).normal(size=(400, 2))
    found = ran("lightning", {"module": Shrinking(), "data": data, "held_out": held_out})
    assert len(found["callback"].monitor.readings) == 2


def test_ctgan():
    pytest.importorskip("ctgan")
    from test_synthesizers import table

    from collapse_jax.callbacks import watch_synthesizer

    found = ran("ctgan", {"real": table(400), "watch_synthesizer": watch_synthesizer})
    assert found["watched"].last == 1
