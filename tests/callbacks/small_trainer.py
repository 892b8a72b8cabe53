"""A tiny OPT and a Trainer for it, as users set them up; imported by tests and by the processes that they start."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from transformers.utils import logging

import collapse_jax.datasets

TINY = Path(collapse_jax.datasets.__file__).parent / "files" / "opt_tiny"
PROMPTS = ["The people of", "It is the duty of the Congress to"]
logging.disable_progress_bar()


def tiny():
    """Return the model that ships with the package, and its tokenizer."""
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32), AutoTokenizer.from_pretrained(TINY)


def rows_of(texts, tokenizer, length=24):
    """Return what a Trainer trains on: blocks of one length, repeated where a text is shorter."""
    tokens = [(tokenizer(text)["input_ids"] * length)[:length] for text in texts]
    return [{"input_ids": one, "labels": one} for one in tokens]


def trainer_of(model, tokenizer, texts, callbacks, folder, num_steps=8, **settings):
    settings = {
        "max_steps": num_steps, "per_device_train_batch_size": 4, "learning_rate": 3e-3, "report_to": "none",
        "save_strategy": "no", "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "use_cpu": True,
        "disable_tqdm": True, **settings,
    }  # fmt: skip
    rows = rows_of(texts, tokenizer)
    return Trainer(
        model, TrainingArguments(str(folder), **settings), train_dataset=rows, eval_dataset=rows[:4],
        processing_class=tokenizer, callbacks=callbacks,
    )  # fmt: skip
