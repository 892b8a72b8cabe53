"""Lightning: a Callback that draws from the module after epochs, and stops the training at an alarm.

    epoch end -> sample(pl_module) -> monitor.update -> log_dict("collapse/...") -> trainer.should_stop
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from collapse_jax.callbacks.randomness import own_randomness, seed_of_check
from collapse_jax.callbacks.readings import logged, told
from collapse_jax.monitor.monitor import Monitor, Reading
from collapse_jax.validation import check_count, check_function, check_seed

_log = logging.getLogger(__name__)


class CollapseCallback(Callback):
    """Watches by a monitor what a module draws, and stops the training at an alarm.

    After each `every_n_epochs`-th training epoch `sample` is called in eval mode, without gradients and with random
    numbers of its own, other ones at each check; modes and random states are then as they were. Logged are
    `collapse/<statistic>`, `collapse/evidence` (1 raises the alarm) and `collapse/generations_left` (checks until half
    of the variance), so `ModelCheckpoint` and `EarlyStopping` can look at them.

    With several processes the first one alone draws, and all stop together; strategies that part the weights (FSDP,
    DeepSpeed stage 3) cannot draw from one process and are not supported. What the monitor has seen is part of
    checkpoints: a run goes on with the evidence it had; if the checkpoint has none, or that of another monitor, the
    evidence starts again, and a warning says so.

    Args:
        sample: module -> samples of the reference's kind, independent of each other; as many each time.
        reference: what they should be like, and the module is not trained on; to ask what has changed since the start,
            samples of the module at its start. None where a monitor is given.
        every_n_epochs: epochs between two checks.
        stop: stop at an alarm.
        monitor: one with a reference of its own, in place of `reference`.
        seed: of the checks.

    Attributes:
        monitor: its readings, records and forecast.

    Raises:
        ValueError: a reference and a monitor, or neither; a reference that is none.
    """

    def __init__(
        self, sample: Callable[[LightningModule], Any], reference: Any = None, every_n_epochs: int = 1,
        stop: bool = True, *, monitor: Monitor | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        if (reference is None) == (monitor is None):
            raise ValueError("give a `reference` or a `monitor`, which has its own.")
        self._sample = check_function("sample", sample, "module -> samples")
        self._every = check_count("every_n_epochs", every_n_epochs)
        self._seed = check_seed("seed", seed)
        self._stop = stop
        self.monitor = monitor if monitor is not None else Monitor(reference, seed=seed, passed_on=False)

    def state_dict(self) -> dict[str, Any]:
        """Return what the monitor has seen, for a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "monitor"
            self.monitor.save(path)
            return {"monitor": torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with what a checkpoint's monitor had seen."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "monitor"
            path.write_bytes(state_dict["monitor"].numpy(force=True).tobytes())
            try:
                self.monitor.restore(path)
            except ValueError as error:
                _log.warning("The checkpoint's monitor is another one (%s): the evidence starts again.", error)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that the evidence starts again, where a run goes on that nobody watched."""
        if trainer.current_epoch > 0 and not self.monitor.readings and trainer.is_global_zero:
            _log.warning("Training goes on at epoch %d; the evidence starts again.", trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, at every n-th epoch."""
        if (trainer.current_epoch + 1) % self._every:
            return
        alarm = False
        if trainer.is_global_zero:
            reading = self._check(pl_module)
            pl_module.log_dict(logged(self.monitor), rank_zero_only=True)
            alarm = reading.alarm
        if trainer.strategy.reduce_boolean_decision(alarm, all=False) and self._stop:
            trainer.should_stop = True

    def _check(self, pl_module: LightningModule) -> Reading:
        number = self.monitor.readings[-1].generation + 1 if self.monitor.readings else 0
        modes = [(module, module.training) for module in pl_module.modules()]
        pl_module.eval()
        try:
            with torch.no_grad(), own_randomness(seed_of_check(self._seed, number), {pl_module.device}):
                samples = self._sample(pl_module)
        finally:
            for module, mode in modes:
                module.training = mode
        if isinstance(samples, torch.Tensor):
            samples = samples.numpy(force=True)
        earlier = self.monitor.alarm
        reading = self.monitor.update(samples, number)
        for note in reading.notes:
            _log.warning("%s", note)
        if reading.alarm and earlier is None:
            _log.warning("%s", told(reading))
        return reading
