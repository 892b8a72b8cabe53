"""The Trainer's callback: it alarms when a model collapses, stops, logs, and leaves training's own numbers alone."""

import json
import logging
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from small_trainer import PROMPTS, rows_of, tiny, trainer_of  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from collapse_jax.callbacks.transformers import CollapseCallback  # noqa: E402
from collapse_jax.monitor import Monitor  # noqa: E402

pytestmark = pytest.mark.parity
ONE_SENTENCE = ["The people of this country are proud of the people of this country, the people of this country."] * 16
STATES = ["Ohio", "Maine", "Texas", "Utah", "Iowa", "Kansas", "Oregon", "Nevada"]
VARIED = [f"The State of {name} has paid {len(name)} dollars to the Treasury in the last year." for name in STATES]
FEW = {"num_samples": 40, "generation_kwargs": {"max_new_tokens": 12}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(callback, folder, texts=ONE_SENTENCE, **settings):
    torch.manual_seed(0)
    trainer = trainer_of(*tiny(), texts, [callback] if callback else [], folder, **settings)
    trainer.train()
    return trainer


def values(trainer, name):
    return [entry[f"collapse/{name}"] for entry in trainer.state.log_history if f"collapse/{name}" in entry]


def test_a_model_that_learns_one_sentence_is_stopped(tmp_path, caplog):
    callback = CollapseCallback(PROMPTS, every=2, **FEW)
    trainer = trained(callback, tmp_path, num_steps=40, eval_strategy="no")
    assert callback.monitor.alarm is not None
    assert trainer.state.global_step == 2 * (callback.monitor.alarm + 1) < 40
    assert values(trainer, "evidence")[-1] >= 1 and len(values(trainer, "distinct-2")) == len(callback.monitor.readings)
    assert values(trainer, "evidence") == [reading.evidence for reading in callback.monitor.readings]
    assert "has raised the alarm" in caplog.text and f"step {trainer.state.global_step}" in caplog.text


def test_stop_may_be_left_to_others(tmp_path):
    callback = CollapseCallback(PROMPTS, every=4, stop=False, **FEW)
    trainer = trained(callback, tmp_path, num_steps=24, eval_strategy="no")
    assert callback.monitor.alarm is not None and trainer.state.global_step == 24


def test_a_model_that_does_not_move_raises_nothing_and_is_never_the_same_sample(tmp_path):
    """With a learning rate of 0 each check draws from the reference's own law."""
    callback = CollapseCallback(PROMPTS, **FEW)
    trained(callback, tmp_path, learning_rate=0.0, num_steps=24)
    assert len(callback.monitor.readings) == 12 and callback.monitor.alarm is None
    assert not any(reading.notes for reading in callback.monitor.readings)  # a repeated sample would be told


def test_trainings_own_numbers_are_those_of_a_run_without_it(tmp_path):
    """Dropout and the order of the data take random numbers; the model's mode decides whether dropout does."""

    def losses(callback):
        torch.manual_seed(0)
        model, tokenizer = tiny()
        for layer in model.model.decoder.layers:
            layer.dropout = 0.1
        trainer = trainer_of(model, tokenizer, VARIED, [callback] if callback else [], tmp_path, logging_steps=1)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    without = losses(None)
    assert losses(CollapseCallback(PROMPTS, stop=False, **FEW)) == without and len(set(without)) == 8
    assert losses(CollapseCallback(PROMPTS, every=1, stop=False, **FEW)) == without


@pytest.mark.parametrize(("every", "expected"), [("evaluate", 4), ("epoch", 2), (3, 2)])
def test_when_it_looks(tmp_path, every, expected):
    callback = CollapseCallback(PROMPTS, every=every, stop=False, **FEW)
    trainer = trained(callback, tmp_path, texts=VARIED * 2, num_steps=8)  # of 4 steps an epoch
    trainer.evaluate()  # which is none of the training's
    assert len(callback.monitor.readings) == len(values(trainer, "evidence")) == expected


def test_several_evaluation_sets_are_one_check(tmp_path):
    callback = CollapseCallback(PROMPTS, stop=False, **FEW)
    model, tokenizer = tiny()
    trainer = trainer_of(model, tokenizer, VARIED, [callback], tmp_path, num_steps=4)
    rows = rows_of(VARIED[:4], tokenizer)
    trainer.eval_dataset = {"one": rows, "other": rows}
    trainer.train()
    assert len(callback.monitor.readings) == 2


def test_it_goes_where_the_trainer_logs_and_takes_nothing_away(tmp_path):
    class Heard(TrainerCallback):
        logs: list = []  # noqa: RUF012

        def on_log(self, args, state, control, logs=None, **kwargs):
            self.logs.append(dict(logs))

    callback = CollapseCallback(PROMPTS, every=2, stop=False, **FEW)
    trainer = trainer_of(*tiny(), VARIED, [Heard(), callback], tmp_path, num_steps=4)
    trainer.train()
    heard = [logs for logs in Heard.logs if "collapse/evidence" in logs]
    assert [logs["collapse/evidence"] for logs in heard] == values(trainer, "evidence") and len(heard) == 2
    assert all(np.isfinite(list(logs.values())).all() and "epoch" in logs for logs in heard)
    assert sum("loss" in logs for logs in Heard.logs) == 2  # logged at the same steps
    assert [entry["step"] for entry in trainer.state.log_history if "collapse/evidence" in entry] == [2, 4]


def test_tensorboard_gets_it(tmp_path):
    pytest.importorskip("tensorboard")
    trained(CollapseCallback(PROMPTS, stop=False, **FEW), tmp_path, num_steps=2, report_to="tensorboard")
    content = b"".join(path.read_bytes() for path in Path(tmp_path).rglob("events*"))
    assert b"collapse/evidence" in content


def test_a_run_that_goes_on_comes_to_the_same_evidence(tmp_path, caplog):
    settings = {"num_steps": 8, "save_strategy": "steps", "save_steps": 4}
    whole = CollapseCallback(PROMPTS, stop=False, **FEW)
    trained(whole, tmp_path, VARIED, **settings)
    again = CollapseCallback(PROMPTS, stop=False, **FEW)
    trainer = trainer_of(*tiny(), VARIED, [again], tmp_path, **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert again.monitor.records().equals(whole.monitor.records()) and len(again.monitor.readings) == 4
    assert "starts again" not in caplog.text
    (tmp_path / "checkpoint-4" / "collapse_monitor.npz").unlink()
    caplog.clear()
    lost = CollapseCallback(PROMPTS, stop=False, **FEW)
    trainer = trainer_of(*tiny(), VARIED, [lost], tmp_path, **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert len(lost.monitor.readings) == 2
    assert "the evidence starts again, and the reference is the model as it is now" in caplog.text


def test_a_file_of_other_prompts_is_not_gone_on_with(tmp_path, caplog):
    settings = {"num_steps": 4, "save_strategy": "steps", "save_steps": 2}
    trained(CollapseCallback(PROMPTS, stop=False, **FEW), tmp_path, VARIED, **settings)
    other = CollapseCallback(PROMPTS[:1], reference=VARIED * 5, stop=False, **FEW)
    trainer = trainer_of(*tiny(), VARIED, [other], tmp_path, **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert len(other.monitor.readings) == 1 and "the evidence starts again." in caplog.text


def test_one_callback_serves_trainer_after_trainer(tmp_path):
    callback = CollapseCallback(PROMPTS, every="epoch", stop=False, **FEW)
    model, tokenizer = tiny()
    for _ in range(3):
        trainer_of(model, tokenizer, ONE_SENTENCE, [callback], tmp_path, num_steps=4).train()
    assert [reading.generation for reading in callback.monitor.readings] == [0, 1, 2]
    assert len(callback._reference) == 160


def test_tokens_need_no_tokenizer(tmp_path):
    callback = CollapseCallback([[2, 470], [2, 470, 571]], stop=False, **FEW)
    model, tokenizer = tiny()
    trainer = trainer_of(model, tokenizer, VARIED, [callback], tmp_path, num_steps=2)
    trainer.callback_handler.processing_class = None
    trainer.train()
    assert callback.monitor.kind.name == "tokens" and len(callback.monitor.readings) == 1


def test_prompts_of_unequal_length_in_one_batch_are_continued_as_each_alone():
    """Greedily: what stands left of a shorter prompt is masked."""
    from collapse_jax.callbacks.transformers import _continued, _tokens

    model, tokenizer = tiny()
    prompts = _tokens(PROMPTS, tokenizer)
    greedy = {"do_sample": False, "max_new_tokens": 8}
    alone = [_continued(model, [prompt], tokenizer, greedy)[0] for prompt in prompts]
    assert _continued(model, prompts, tokenizer, greedy) == alone and len(alone[0]) == 8


def test_statistics_and_alpha_are_the_users(tmp_path):
    make = lambda found: Monitor(found, ["distinct-2"], alpha=0.2, passed_on=False)  # noqa: E731
    callback = CollapseCallback(PROMPTS, monitor=make, stop=False, **FEW)
    trainer = trained(callback, tmp_path, VARIED, num_steps=2)
    logged = {name for entry in trainer.state.log_history for name in entry if name.startswith("collapse/")}
    assert {"collapse/distinct-2", "collapse/evidence"} <= logged and callback.monitor.needed == 5
    given = CollapseCallback(PROMPTS, monitor=Monitor(VARIED * 5, passed_on=False), stop=False, **FEW)
    trained(given, tmp_path, VARIED, num_steps=2)
    assert len(given.monitor.readings) == 1 and given._reference is None


@pytest.mark.parametrize(("arguments", "error", "sentence"), [
    ({"prompts": []}, ValueError, "`prompts` is empty"),
    ({"prompts": ["a", ""]}, ValueError, "prompt 1 is empty"),
    ({"prompts": "a"}, TypeError, "must be a list"),
    ({"prompts": ["a", [1]]}, TypeError, "give one of the two"),
    ({"prompts": ["a"], "every": "epoc"}, ValueError, "did you mean 'epoch'"),
    ({"prompts": ["a"], "every": 0}, ValueError, "`every` must be at least 1"),
    ({"prompts": ["a"], "num_samples": 4}, ValueError, "`num_samples` must be at least 5"),
    ({"prompts": ["a"], "generation_kwargs": {"do_sample": False}}, ValueError, "`do_sample` must be true"),
    ({"prompts": ["a"], "monitor": 3}, TypeError, "`monitor` must be a function"),
    ({"prompts": ["a"], "reference": ["a"]}, ValueError, "holds 1 samples"),
])  # fmt: skip
def test_mistakes_get_one_sentence(unchecked, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        CollapseCallback(**arguments)


def test_a_trainer_that_never_evaluates_is_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trained(CollapseCallback(PROMPTS, **FEW), tmp_path, VARIED, num_steps=1, eval_strategy="no")
    assert "nothing is watched" in caplog.text


def test_texts_without_a_tokenizer_are_told(tmp_path):
    trainer = trainer_of(*tiny(), VARIED, [CollapseCallback(PROMPTS, **FEW)], tmp_path, num_steps=1)
    trainer.callback_handler.processing_class = None
    with pytest.raises(ValueError, match="need a tokenizer"):
        trainer.train()


def test_weights_in_parts_are_refused(tmp_path, monkeypatch, unchecked):
    from collapse_jax.callbacks import transformers as home

    callback = CollapseCallback(PROMPTS, **FEW)
    trainer = trainer_of(*tiny(), VARIED, [callback], tmp_path, num_steps=1)
    monkeypatch.setattr(home, "is_fsdp_enabled", lambda: True)

    two = types.SimpleNamespace(world_size=2)
    with pytest.raises(NotImplementedError, match="each process holds a part of the weights"):
        callback.on_train_begin(two, trainer.state, trainer.control)


def test_trls_trainer_is_a_trainer(tmp_path, monkeypatch):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    # which some releases of dill cannot take
    monkeypatch.setattr("datasets.arrow_dataset.generate_fingerprint", lambda dataset: "fixed")
    callback = CollapseCallback(PROMPTS, every=2, **FEW)
    model, tokenizer = tiny()
    arguments = trl.SFTConfig(
        str(tmp_path), max_steps=40, per_device_train_batch_size=4, learning_rate=3e-3, max_length=24, report_to="none",
        use_cpu=True, bf16=False, save_strategy="no", logging_steps=2, disable_tqdm=True,
        dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    rows = [{"input_ids": row["input_ids"]} for row in rows_of(ONE_SENTENCE, tokenizer)]
    trainer = trl.SFTTrainer(
        model, arguments, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer,
        callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    assert callback.monitor.alarm is not None and trainer.state.global_step < 40
    assert values(trainer, "evidence")[-1] >= 1
    assert all("mean_token_accuracy" in entry for entry in trainer.state.log_history if "loss" in entry)


def test_jax_is_not_imported(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from small_trainer import PROMPTS, tiny, trainer_of
from collapse_jax.callbacks.transformers import CollapseCallback
callback = CollapseCallback(PROMPTS, num_samples=10, stop=False)
trainer_of(*tiny(), ["The people of the States."] * 4, [callback], {str(tmp_path)!r}, num_steps=2).train()
assert len(callback.monitor.readings) == 1
print("found", *({{'jax', 'jaxlib', 'flax', 'optax'}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "found", done.stdout


def test_two_processes_are_stopped_together(tmp_path):
    """By gloo on CPUs: the first process alone generates, both end at the same step."""
    script = tmp_path / "train.py"
    script.write_text(f"""
import sys, json
sys.path.insert(0, {str(Path(__file__).parent)!r})
from small_trainer import PROMPTS, tiny, trainer_of
from collapse_jax.callbacks.transformers import CollapseCallback
callback = CollapseCallback(PROMPTS, every=2, num_samples=40, generation_kwargs={{"max_new_tokens": 12}})
settings = {{"eval_strategy": "no", "ddp_backend": "gloo"}}
trainer = trainer_of(*tiny(), {ONE_SENTENCE!r}, [callback], {str(tmp_path)!r}, num_steps=40, **settings)
trainer.train()
seen = None if callback.monitor is None else [len(callback.monitor.readings), callback.monitor.alarm]
found = {{"step": trainer.state.global_step, "seen": seen, "world": trainer.args.world_size}}
open(f"{tmp_path}/{{trainer.args.process_index}}.json", "w").write(json.dumps(found))
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2))
    assert first["world"] == 2 and first["step"] == second["step"] < 40
    assert first["seen"] == [first["step"] // 2, first["step"] // 2 - 1] and second["seen"] is None
