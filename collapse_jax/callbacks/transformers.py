"""Hugging Face's Trainer, and whatever derives from it: a TrainerCallback that generates, looks, logs and stops.

    on_evaluate -> prompts drawn by chance -> model.generate -> monitor.update -> "collapse/..." -> should_training_stop
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled
from transformers.trainer_callback import CallbackHandler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from collapse_jax.callbacks.randomness import own_randomness, seed_of_check
from collapse_jax.callbacks.readings import logged, told
from collapse_jax.files.writing import write_atomically
from collapse_jax.monitor.monitor import FEWEST_REFERENCE, FEWEST_ROWS, Monitor
from collapse_jax.validation import check_choice, check_count, check_function, check_list, check_seed, shown

_log = logging.getLogger(__name__)
_TOLD, _SEEN = "collapse_monitor.json", "collapse_monitor.npz"  # in a checkpoint's folder
_REFERENCE = 4  # times as many samples: a monitor learns from a quarter of them
_GENERATION = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_beams": 1, "max_new_tokens": 32}

MakeMonitor = Callable[[list[Any]], Monitor]


class CollapseCallback(TrainerCallback):
    """Watches by a monitor what a language model writes while it is trained, and stops the training at an alarm.

    At each check prompts are drawn by chance from those given, so that samples are independent draws of one law, and
    continued by the model: in eval mode, without gradients, with random numbers of the check's own; modes and random
    states are then as they were, so that the training's own numbers are those of a run without the callback. What is
    judged is the continuation alone: as text, or as tokens where there is no tokenizer. Values go where the trainer
    logs (`state.log_history`, TensorBoard, ...) as `collapse/<statistic>`, `collapse/evidence` (1 raises the alarm) and
    `collapse/generations_left` (checks until half of the variance, where it can be told).

    One callback may serve several trainers one after the other, as when a model is trained on its own texts round after
    round: the reference stays that of the first start, and checks go on.

    With several processes the first one alone generates while the others wait, and all stop together. Where the weights
    lie in parts (FSDP, DeepSpeed stage 3) one process cannot generate, and training does not begin.

    Each checkpoint's folder gets two files more, `collapse_monitor.json` and `.npz`. A run that goes on from
    `output_dir/checkpoint-N` reads them and comes to the very same evidence; without them the evidence starts again,
    and a warning says so.

    Args:
        prompts: texts, or lists of tokens; at least one.
        tokenizer: of the model; None: the trainer's `processing_class`, or none where prompts are tokens.
        reference: texts (or lists of tokens) as the model should write them, and is not trained on; None: what it
            writes itself before its first step, four times `num_samples`: the monitor then asks what has changed.
        monitor: a function reference -> Monitor, for other statistics or another alpha; or a monitor with a reference
            of its own. By default `Monitor(reference, seed=seed, passed_on=False)`.
        every: "evaluate": with each evaluation; "epoch": at the end of each epoch; a number: of optimizer steps.
        num_samples: texts a check.
        batch_size: texts generated at a time.
        generation_kwargs: for `model.generate`, beside and above plain sampling of at most 32 tokens.
        stop: stop the training at an alarm.
        seed: of the checks.

    Attributes:
        monitor: its readings, records and forecast; None before the first start, where the reference is drawn.

    Raises:
        ValueError: no prompts, an empty prompt, a reference and a monitor, a generation that is not sampled.
        TypeError: prompts are neither texts nor lists of tokens.
    """

    def __init__(
        self, prompts: Sequence[Any], tokenizer: Any = None, reference: Sequence[Any] | None = None, *,
        monitor: Monitor | MakeMonitor | None = None, every: str | int = "evaluate", num_samples: int = 128,
        batch_size: int = 32, generation_kwargs: Mapping[str, Any] | None = None, stop: bool = True, seed: int = 0,
    ) -> None:  # fmt: skip
        self._prompts = _checked_prompts(prompts)
        self._tokenizer = tokenizer
        self._every = every
        if isinstance(every, str):
            check_choice("every", every, ("evaluate", "epoch"))
        else:
            check_count("every", every)
        self._num_samples = check_count("num_samples", num_samples, max(FEWEST_ROWS, FEWEST_REFERENCE // _REFERENCE))
        self._batch_size = check_count("batch_size", batch_size)
        self._generation = {**_GENERATION, **(generation_kwargs or {})}
        if not self._generation["do_sample"]:
            raise ValueError("`do_sample` must be true: without chance all continuations of a prompt are one.")
        self._stop = stop
        self._seed = check_seed("seed", seed)
        self._make: MakeMonitor = lambda found: Monitor(found, seed=self._seed, passed_on=False)
        self.monitor: Monitor | None = None
        if isinstance(monitor, Monitor):
            if reference is not None:
                raise ValueError("give a `reference` or a monitor that has one, not both.")
            self.monitor = monitor
        elif monitor is not None:
            self._make = check_function("monitor", monitor, "reference -> Monitor")
        if reference is not None:
            self.monitor = self._make(list(reference))
        self._reference: list[Any] | None = None  # as written by the model
        self._last_step: int | None = None
        self._training = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the reference, or read what a checkpoint holds."""
        if args.world_size > 1 and (is_deepspeed_zero3_enabled() or is_fsdp_enabled() or getattr(args, "fsdp", None)):
            raise NotImplementedError(
                "CollapseCallback generates in one process, and each process holds a part of the weights here; use "
                "data parallelism or DeepSpeed stage 1 or 2, or watch checkpoints by a Monitor afterwards."
            )
        if self._every == "evaluate" and getattr(args.eval_strategy, "value", args.eval_strategy) == "no":
            _log.warning("The trainer never evaluates (eval_strategy='no'), and nothing is watched; use every='epoch'.")
        self._training, self._last_step = True, None
        if not state.is_world_process_zero:
            return
        if state.global_step > 0 and not (self.monitor is not None and self.monitor.readings):
            self._resume(args, state)
        if self.monitor is None:
            model, tokenizer = kwargs["model"], self._tokenizer or kwargs.get("processing_class")
            self._reference = self._write(model, tokenizer, _REFERENCE * self._num_samples, 0)
            self.monitor = self._make(self._reference)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look no more: an evaluation afterwards is none of the training's."""
        self._training = False

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check, if that is when."""
        if self._every == "evaluate" and self._training and state.global_step != self._last_step:
            self._check(args, state, control, **kwargs)  # once a step: there may be several evaluation sets

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check, if that is when."""
        if self._every == "epoch":
            self._check(args, state, control, **kwargs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check, if that is when."""
        if isinstance(self._every, int) and state.global_step % self._every == 0:
            self._check(args, state, control, **kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write what the monitor has seen into the checkpoint's folder."""
        folder = _checkpoint(args, state)
        if state.is_world_process_zero and self.monitor is not None and folder.is_dir():
            told = json.dumps({"prompts": self._prompts, "reference": self._reference})
            write_atomically(folder / _TOLD, lambda path: path.write_text(told, encoding="utf-8"))
            self.monitor.save(folder / _SEEN)

    def _check(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, model: Any, **kwargs: Any
    ) -> None:
        self._last_step = state.global_step
        alarm = False
        if state.is_world_process_zero:
            monitor = self.monitor
            assert monitor is not None
            number = monitor.readings[-1].generation + 1 if monitor.readings else 0
            tokenizer = self._tokenizer or kwargs.get("processing_class")
            samples = self._write(model, tokenizer, self._num_samples, number + 1)
            earlier = monitor.alarm
            reading = monitor.update(samples, number)
            for note in reading.notes:
                _log.warning("%s", note)
            if reading.alarm and earlier is None:
                _log.warning("%s It was at step %d.", told(reading), state.global_step)
            _send(args, state, control, logged(monitor))
            alarm = reading.alarm
        if _anywhere(args, alarm) and self._stop:
            control.should_training_stop = True

    def _resume(self, args: TrainingArguments, state: TrainerState) -> None:
        """Give the monitor what it had seen when the checkpoint was written."""
        folder, monitor = _checkpoint(args, state), self.monitor
        try:
            told = json.loads((folder / _TOLD).read_text(encoding="utf-8"))
            if told["prompts"] != self._prompts:
                raise ValueError("its prompts are others")
            if monitor is None:
                monitor = self._make(told["reference"])
            monitor.restore(folder / _SEEN)
        except (OSError, ValueError, KeyError, TypeError) as error:
            start = "" if self.monitor is not None else ", and the reference is the model as it is now"
            _log.warning(
                "Training goes on at step %d, but %s holds nothing that this monitor could go on with (%s): the "
                "evidence starts again%s.", state.global_step, folder, error, start,
            )  # fmt: skip
            return
        self.monitor, self._reference = monitor, told["reference"]

    def _write(self, model: Any, tokenizer: Any, num: int, number: int) -> list[Any]:
        """Return so many continuations of prompts that are drawn by chance; number 0 is the reference."""
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor of texts and images
        encoded = _tokens(self._prompts, tokenizer)
        seed = seed_of_check(self._seed, number)
        chosen = np.random.default_rng(seed).integers(len(encoded), size=num)
        modes = [(module, module.training) for module in model.modules()]
        devices = {parameter.device for parameter in model.parameters()}
        model.eval()
        try:
            with torch.no_grad(), own_randomness(seed, devices):
                found: list[list[int]] = []
                for start in range(0, num, self._batch_size):
                    prompts = [encoded[place] for place in chosen[start : start + self._batch_size]]
                    found += _continued(model, prompts, tokenizer, self._generation)
        finally:
            for module, mode in modes:
                module.training = mode
        return found if tokenizer is None else tokenizer.batch_decode(found, skip_special_tokens=True)


def _checked_prompts(prompts: Any) -> list[Any]:
    found = [prompt if isinstance(prompt, str) else check_list("prompts", prompt, "['Once upon a time']")
             for prompt in check_list("prompts", prompts, "['Once upon a time']")]  # fmt: skip
    if not found:
        raise ValueError("`prompts` is empty; give at least one text to go on from.")
    if not all(found):
        raise ValueError(f"prompt {list(map(bool, found)).index(False)} is empty; give it one token at least.")
    if len({isinstance(one, str) for one in found}) > 1:
        raise TypeError("`prompts` are texts and lists of tokens; give one of the two.")
    return [one if isinstance(one, str) else [int(token) for token in one] for one in found]


def _tokens(prompts: list[Any], tokenizer: Any) -> list[list[int]]:
    if not isinstance(prompts[0], str):
        return prompts
    if tokenizer is None:
        raise ValueError("prompts that are texts need a tokenizer; give one, or the trainer a `processing_class`.")
    return [list(ids) for ids in tokenizer(prompts)["input_ids"]]


def _continued(model: Any, prompts: list[list[int]], tokenizer: Any, generation: dict[str, Any]) -> list[list[int]]:
    """Return what the model adds to each prompt, up to its end of text."""
    config = model.generation_config
    ends = config.eos_token_id
    ends = set(ends if isinstance(ends, list | tuple) else [] if ends is None else [ends])
    known = [config.pad_token_id, getattr(tokenizer, "pad_token_id", None), *ends, 0]
    pad = next(token for token in known if token is not None)
    longest = max(map(len, prompts))
    encoder = bool(getattr(model.config, "is_encoder_decoder", False))  # which has its padding on the right
    padded, mask = [], []
    for prompt in prompts:
        space, ones = [pad] * (longest - len(prompt)), [1] * len(prompt)
        zeros = [0] * len(space)
        padded.append(prompt + space if encoder else space + prompt)
        mask.append(ones + zeros if encoder else zeros + ones)
    device = next(model.parameters()).device
    rows = model.generate(
        input_ids=torch.tensor(padded, device=device), attention_mask=torch.tensor(mask, device=device),
        **{"pad_token_id": pad, **generation},
    )  # fmt: skip
    found = []
    for row in rows.tolist():
        new = row[1:] if encoder else row[longest:]
        end = next((place for place, token in enumerate(new) if token in ends), len(new))
        found.append(new[:end])
    return found


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def _send(args: TrainingArguments, state: TrainerState, control: TrainerControl, values: dict[str, float]) -> None:
    """Log as `Trainer.log` does, which would take `should_log` back, and TRL's averages with it."""
    logs = values if state.epoch is None else {**values, "epoch": state.epoch}
    state.log_history.append({**logs, "step": state.global_step})
    handler = _handler()
    if handler is None:
        _log.warning("No CallbackHandler calls this callback: %s is in log_history alone.", shown(sorted(values)))
    else:
        handler.call_event("on_log", args, state, control, logs=logs)


def _handler() -> CallbackHandler | None:
    """Return who calls: a Trainer hands everything to its callbacks but itself and the others, who do the logging."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is CallbackHandler.call_event.__code__:
            return frame.f_locals["self"]
    return None


def _anywhere(args: TrainingArguments, alarm: bool) -> bool:
    """Return in every process what the first one says."""
    if args.world_size == 1 or not torch.distributed.is_initialized():
        return alarm
    flag = torch.tensor([int(alarm)], device=args.device)
    torch.distributed.broadcast(flag, src=0)
    return bool(flag.item())
