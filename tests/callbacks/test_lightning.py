"""Lightning's callback: it alarms, stops, logs, and leaves training's own numbers alone."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning")

from collapse_jax.callbacks.lightning import CollapseCallback  # noqa: E402
from collapse_jax.monitor import Monitor  # noqa: E402

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of few workers, of no logger
REFERENCE = np.random.default_rng(0).normal(size=(400, 2))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Shrinking(lightning.LightningModule):
    """Draws scale * N(0, 1); what it minimises is the scale's square."""

    def __init__(self, rate=0.1):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))
        self.dropout = torch.nn.Dropout(0.5)
        self.rate, self.losses = rate, []

    def training_step(self, batch, index):
        loss = (self.dropout(self.scale.expand(len(batch), 2)) ** 2).mean() + 0 * batch.mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate)

    def draw(self, num):
        assert not self.training and not self.dropout.training and not torch.is_grad_enabled()
        return self.scale * torch.randn(num, 2)


def fitted(callback, folder, rate=0.1, epochs=40, model=None, resumed=None, **settings):
    torch.manual_seed(0)
    model = model or Shrinking(rate)
    data = torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=4, shuffle=True)
    settings = {"enable_checkpointing": False, **settings}
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, default_root_dir=folder, logger=False, **settings,
        callbacks=[callback] if callback else [], enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=resumed)
    return trainer, model


def sample(module):
    return module.draw(100)


def test_a_module_that_shrinks_is_stopped(tmp_path, caplog):
    callback = CollapseCallback(sample, REFERENCE)
    trainer, _ = fitted(callback, tmp_path)
    assert callback.monitor.alarm is not None and trainer.current_epoch == callback.monitor.alarm + 1 < 40
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["collapse/evidence"] >= 1 and logged["collapse/variance"] < 0.8
    assert "has raised the alarm" in caplog.text


def test_stop_may_be_left_to_others_and_checks_be_rarer(tmp_path):
    callback = CollapseCallback(sample, REFERENCE, every_n_epochs=4, stop=False)
    trainer, model = fitted(callback, tmp_path)
    assert trainer.current_epoch == 40 and len(callback.monitor.readings) == 10 and callback.monitor.alarm is not None
    assert model.training and model.dropout.training


def test_a_module_that_does_not_move_raises_nothing_and_is_never_the_same_sample(tmp_path):
    callback = CollapseCallback(sample, REFERENCE)
    fitted(callback, tmp_path, rate=0.0, epochs=20)
    assert callback.monitor.alarm is None and len(callback.monitor.readings) == 20
    assert not any(reading.notes for reading in callback.monitor.readings)


def test_trainings_own_numbers_are_those_of_a_run_without_it(tmp_path):
    _, without = fitted(None, tmp_path, epochs=5)
    _, watched = fitted(CollapseCallback(sample, REFERENCE, stop=False), tmp_path, epochs=5)
    assert watched.losses == without.losses and len(set(without.losses)) > 1


def test_a_run_that_goes_on_comes_to_the_same_evidence(tmp_path, caplog):
    def run(callback, epochs, resumed=None):
        return fitted(callback, tmp_path, rate=0.001, epochs=epochs, resumed=resumed, enable_checkpointing=True)[0]

    whole = CollapseCallback(sample, REFERENCE, stop=False)
    run(whole, 4)
    run(CollapseCallback(sample, REFERENCE, stop=False), 2).save_checkpoint(tmp_path / "last.ckpt")
    again = CollapseCallback(sample, REFERENCE, stop=False)
    run(again, 4, tmp_path / "last.ckpt")
    assert [reading.generation for reading in again.monitor.readings] == [0, 1, 2, 3]
    assert again.monitor.records()[:2].equals(whole.monitor.records()[:2])  # Lightning restores no random state: then
    assert again.monitor.readings[-1].evidence == pytest.approx(whole.monitor.readings[-1].evidence, rel=0.2)  # dropout
    assert "starts again" not in caplog.text
    other = CollapseCallback(sample, REFERENCE[:300], stop=False)
    with caplog.at_level(logging.WARNING):
        run(other, 4, tmp_path / "last.ckpt")
    assert "another one" in caplog.text and len(other.monitor.readings) == 2
    caplog.clear()
    run(None, 2).save_checkpoint(tmp_path / "unwatched.ckpt")
    with caplog.at_level(logging.WARNING):
        run(CollapseCallback(sample, REFERENCE, stop=False), 4, tmp_path / "unwatched.ckpt")
    assert "goes on at epoch 2; the evidence starts again" in caplog.text


def test_a_checkpoint_may_be_chosen_by_it(tmp_path):
    saver = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, monitor="collapse/variance", mode="max")
    torch.manual_seed(0)
    data = torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=4, accelerator="cpu", devices=1, callbacks=[CollapseCallback(sample, REFERENCE, stop=False), saver],
        logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Shrinking(), data)
    assert "epoch=0" in saver.best_model_path


@pytest.mark.parametrize(("arguments", "error", "sentence"), [
    ((sample,), ValueError, "give a `reference` or a `monitor`"),
    ((sample, REFERENCE[:5]), ValueError, "holds 5 samples"),
    ((3, REFERENCE), TypeError, "`sample` must be a function"),
    ((sample, REFERENCE, 0), ValueError, "`every_n_epochs` must be at least 1"),
])  # fmt: skip
def test_mistakes_get_one_sentence(unchecked, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        CollapseCallback(*arguments)


def test_a_monitor_of_ones_own(tmp_path):
    monitor = Monitor(REFERENCE, ["variance"], passed_on=False)
    trainer, _ = fitted(CollapseCallback(sample, monitor=monitor), tmp_path)
    assert monitor.alarm == trainer.current_epoch - 1


def test_jax_is_not_imported():
    code = (
        "import sys, collapse_jax.callbacks.lightning as home, numpy as np; "
        "home.CollapseCallback(lambda module: 0, np.random.default_rng(0).normal(size=(40, 2))); "
        "print('found', *({'jax', 'jaxlib', 'flax', 'optax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "found", done.stdout


def test_two_processes_are_stopped_together(tmp_path):
    """By gloo on CPUs: the first process alone draws."""
    script = tmp_path / "train.py"
    script.write_text(f"""
import sys, json
import lightning, torch, numpy as np
from collapse_jax.callbacks.lightning import CollapseCallback
torch.set_num_threads(1)

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))
    def training_step(self, batch, index):
        return (self.scale**2).mean() + 0 * batch.mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.2)

if __name__ == "__main__":
    reference = np.random.default_rng(0).normal(size=(400, 2))
    callback = CollapseCallback(lambda module: module.scale * torch.randn(100, 2), reference)
    trainer = lightning.Trainer(
        max_epochs=40, accelerator="cpu", devices=2, strategy="ddp", callbacks=[callback], logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.zeros(16, 1), batch_size=4))
    monitor = callback.monitor
    found = {{"epoch": trainer.current_epoch, "checks": len(monitor.readings), "alarm": monitor.alarm}}
    open(f"{tmp_path}/{{trainer.global_rank}}.json", "w").write(json.dumps(found))
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2))
    assert first["epoch"] == second["epoch"] == first["checks"] < 40
    assert first["alarm"] == first["epoch"] - 1 and second["checks"] == 0
