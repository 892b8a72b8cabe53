"""Does a callback stop a fine-tuning on the model's own texts before the held-out loss shows anything?

    .venv/bin/python experiments/watch_finetuning.py

The tiny OPT that ships with the package, transformers' Trainer, and `CollapseCallback`. A round: the model continues
256 beginnings of real addresses, and is then trained on what it wrote, from the weights it has; next round. Four times
a round the trainer evaluates on real addresses of other years, and the callback looks at 128 texts of its own, whose
law at the start is the reference. Beside it the same with real text in place of its own. Needs PyTorch, transformers
and accelerate (extra `transformers`).

Answer: before a rise by a tenth, yes; before any, no. One run. On its own texts the alarm stops the training at the end
of round 3, by distinct-2, when the held-out loss has risen from 3.458 to 3.634 (5 %); by 10 % it has risen in round
6.25, 3.25 rounds later, and the evidence then grows to 10^12. The loss moves from the first round on, but asks for real
texts of other years; the callback asks for none. On real texts the loss rises to 3.53 and stays, and the alarm comes,
too, in round 4.5, by the length in words, with evidence that never passes 4: it tells that the model writes otherwise
than at the start, not that it gets worse.
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

import collapse_jax.datasets
from collapse_jax.analysis.style import COLOURS, legend, new_figure, save_figure
from collapse_jax.callbacks.transformers import CollapseCallback
from collapse_jax.datasets.text import load_addresses

TINY = Path(collapse_jax.datasets.__file__).parent / "files" / "opt_tiny"
LENGTH, BEGINNING = 64, 8  # tokens
CHECKS = 4  # a round
RISE = 1.1  # of the held-out loss
logging.disable_progress_bar()
logging.set_verbosity_error()


class Sizes(NamedTuple):
    """How much of everything; a test takes less."""

    rounds: int = 10
    texts: int = 256
    held_out: int = 128
    prompts: int = 64
    samples: int = 128
    batch: int = 16
    learning_rate: float = 3e-4
    temperature: float = 1.0


def blocks(lines, tokenizer, num):
    """Return so many blocks of LENGTH tokens, each a line's beginning."""
    long = [line for line in lines if len(line) > 6 * LENGTH]
    places = np.random.default_rng(0).permutation(len(long))[:num]
    return [tokenizer(long[place])["input_ids"][:LENGTH] for place in places]


def written(model, beginnings, temperature, seed):
    """Return the beginnings as the model goes on with them."""
    set_seed(seed)
    model.eval()
    found = []
    for start in range(0, len(beginnings), 64):
        prompts = torch.tensor(beginnings[start : start + 64])
        rows = model.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0, temperature=temperature,
            min_new_tokens=LENGTH - BEGINNING, max_new_tokens=LENGTH - BEGINNING,
        )  # fmt: skip
        found += rows.tolist()
    return found


def run(sizes, own, stop, show=print):
    """Train round after round.

    Args:
        sizes: how much of everything.
        own: on the model's own texts, or on real ones.
        stop: end where the callback stops the trainer.
        show: called with each line of the table.

    Returns:
        A row for each check: round, held-out loss, distinct-2, evidence, alarm; the first one is before any training.
    """
    model = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    addresses = load_addresses()
    real = blocks(addresses.train, tokenizer, sizes.texts * (1 if own else sizes.rounds))
    held_out = [{"input_ids": one, "labels": one} for one in blocks(addresses.validation, tokenizer, sizes.held_out)]
    prompts = [tokenizer.decode(one[:BEGINNING], skip_special_tokens=True) for one in real[: sizes.prompts]]
    callback = CollapseCallback(prompts, tokenizer, every="evaluate", num_samples=sizes.samples, stop=stop)
    steps = sizes.texts // sizes.batch
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(sizes.rounds):
            if own:
                texts = written(model, [one[:BEGINNING] for one in real], sizes.temperature, seed=index)
            else:
                texts = [real[(index * sizes.texts + place) % len(real)] for place in range(sizes.texts)]
            arguments = TrainingArguments(
                folder, max_steps=steps, per_device_train_batch_size=sizes.batch, per_device_eval_batch_size=64,
                learning_rate=sizes.learning_rate, lr_scheduler_type="constant", eval_strategy="steps",
                eval_steps=steps // CHECKS, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
                seed=index,
            )  # fmt: skip
            trainer = Trainer(
                model, arguments, train_dataset=[{"input_ids": one, "labels": one} for one in texts],
                eval_dataset=held_out, callbacks=[callback],
            )  # fmt: skip
            trainer.remove_callback(PrinterCallback)  # the table says it
            if index == 0:
                rows.append((0.0, trainer.evaluate()["eval_loss"], np.nan, np.nan, False))
            trainer.train()
            losses = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
            losses = losses[-(trainer.state.global_step * CHECKS // steps) :]  # without the one before training
            readings = callback.monitor.readings[-len(losses) :]
            for place, (loss, reading) in enumerate(zip(losses, readings), 1):
                distinct = reading["distinct-2"].value
                rows.append((index + place / CHECKS, loss, distinct, reading.evidence, reading.alarm))
            show("{:5.2f} {:13.3f} {:11.3f} {:10.3g} {!s:>6}".format(*rows[-1]))
            if stop and callback.monitor.alarm is not None:
                break
    return rows


def first(rows, is_so):
    """Return the round in which something holds for the first time, NaN if never."""
    return next((row[0] for row in rows if is_so(row)), np.nan)


def answer(rows):
    """Return the rounds of the alarm, and of a held-out loss that has risen by a tenth."""
    return first(rows, lambda row: row[4]), first(rows, lambda row: row[1] >= RISE * rows[0][1])


def draw(found, out):
    """Draw loss, distinct-2 and evidence of each training; return the files."""
    figure, axes = new_figure(1, 3, width=9.6, height=3.0)
    titles = ("held-out loss, nats a token", "distinct-2 of what it writes", "evidence (1: alarm)")
    for (name, rows), colour in zip(found.items(), COLOURS):
        values = np.array(rows, float)
        alarm, _ = answer(rows)
        for column, (panel, title) in enumerate(zip(axes[0], titles), 1):
            panel.plot(values[:, 0], values[:, column], color=colour, label=name)
            panel.axvline(alarm, color=colour, linestyle=":", linewidth=1)
            panel.set(title=title, xlabel="round")
    axes[0, 0].axhline(RISE * found["own texts"][0][1], color="#888888", linewidth=0.8)
    axes[0, 0].annotate("+10 %", (0, RISE * found["own texts"][0][1]), fontsize=7.5, color="#666666", va="bottom")
    axes[0, 2].axhline(1, color="#888888", linewidth=0.8)
    axes[0, 2].set_yscale("log")
    legend(axes[0, 1], title="dotted: alarm", title_fontsize=7.5)
    return save_figure(figure, out, "watch_finetuning")


def main(out: Path) -> None:
    torch.set_num_threads(1)
    sizes, begun = Sizes(), time.perf_counter()
    found = {}
    runs = (("own texts, stopped", True, True), ("own texts", True, False), ("real texts", False, False))
    for name, own, stop in runs:
        print(f"{name}\nround held-out loss  distinct-2   evidence  alarm", flush=True)
        found[name] = run(sizes, own, stop, lambda line: print(line, flush=True))
    stopped = found.pop("own texts, stopped")
    assert stopped[-1][:4] == found["own texts"][len(stopped) - 1][:4]  # the same run, as far as it went
    alarm, risen = answer(found["own texts"])
    print(
        f"The alarm stopped the training in round {alarm:.2f}, at a held-out loss of {stopped[-1][1]:.3f} "
        f"({stopped[0][1]:.3f} before); by 10 % it had risen in round {risen:.2f}, {risen - alarm:.2f} rounds later. "
        f"On real texts the alarm came in round {answer(found['real texts'])[0]:.2f}. "
        f"({time.perf_counter() - begun:.0f} s)"
    )
    print(draw(found, out))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
