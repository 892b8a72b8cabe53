"""OPT-125m with random weights beside transformers: training, decoding, scoring, and the published protocol's cost."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from opt import BEAMS, RATE, training_flops
from sides import Side

from collapse_jax import opt
from collapse_jax.networks.training import adamw, train_step
from collapse_jax.types import Key, Params
from device_rows.ceilings import at_ceiling, binding, copy_ceiling, product_ceiling
from device_rows.found import Found, Program, Setting, Target, compiled, gathered, measured

_PRECISIONS = {"bfloat16": ("bfloat16", "default"), "tf32": ("float32", "default"), "float32": ("float32", "highest")}
_TORCH = {"bfloat16": "high", "tf32": "high", "float32": "highest"}
# of the published protocol: blocks of 64 tokens, in training and validation, and minibatches of 128
BLOCKS, VALIDATION, GENERATIONS, SEEDS, EPOCHS = 36_000, 3_760, 10, 5, {"A": 5, "B": 10}


class Work(NamedTuple):
    """A model and the text that it reads.

    Attributes:
        precision: "bfloat16", "tf32" or "float32".
        config: of the model.
        params: random weights.
        text: [batch, length].
    """

    precision: str
    config: opt.OPTConfig
    params: Params
    text: np.ndarray

    @property
    def model(self) -> str:
        """The model's name."""
        return "OPT-125m" if self.config.hidden_size == 768 else "an OPT of 2 layers"

    @property
    def size(self) -> str:
        """What is read, in words."""
        return f"{self.text.shape[0]} x {self.text.shape[1]} tokens, {self.precision}"


def work_of(setting: Setting, precision: str, batch: int) -> Work:
    """Return OPT-125m and so many texts of 64 tokens; a tiny one and fewer in a tiny setting."""
    dtype, products = _PRECISIONS[precision]
    config = dataclasses.replace(opt.opt_config("125m"), dtype=dtype, precision=products)
    length = 64
    if setting.tiny:
        small = {"vocab_size": 256, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "ffn_size": 64}
        config, batch, length = dataclasses.replace(config, max_positions=32, **small), 4, 8
    text = np.random.default_rng(0).integers(3, config.vocab_size, (batch, length))
    return Work(precision, config, opt.init_opt(jax.random.key(0), config), text)


def training(precision: str, setting: Setting) -> None:
    """Tell of a step of AdamW on 128 texts."""
    work = work_of(setting, precision, 128)
    ours, program = _trainer(work)
    length = work.text.shape[1]
    cost = at_ceiling(product_ceiling(setting, precision), training_flops(work.config, length))
    target = Target("40 % of the bfloat16 product", share=0.4) if precision == "bfloat16" else None
    peers, note = peers_of(setting, work, "trainers")
    name = f"{work.model}, training, AdamW, dropout {work.config.dropout:g}, {work.size}"
    with torch_precision(precision):
        found = measured(
            setting, name, "tokens", ours, program, peers=peers, note=note, cost=cost, target=target
        )
    setting.tell(found)


def _trainer(work: Work) -> tuple[Side, Program]:
    optimizer, loss = adamw(RATE), opt.language_loss(work.config)
    tokens = jnp.asarray(work.text, jnp.int32)
    texts = opt.Texts(tokens, jnp.ones(tokens.shape, bool), jnp.ones(tokens.shape[0]))
    state = jax.tree.map(jnp.copy, (work.params, optimizer.init(work.params)))

    def step(state: Any, key: Key, texts: opt.Texts) -> Any:
        return train_step(key, *state, lambda _: texts, loss, optimizer)[0]

    key = jax.random.key(1)
    program = compiled(step, state, key, texts, donate=(0,))

    def fit() -> None:
        nonlocal state
        state = jax.block_until_ready(program.run(state, key, texts))

    return Side("ours", fit, work.text.size), program


def sampling(batch: int, precision: str, setting: Setting) -> None:
    """Tell of drawing 64 tokens after 64."""
    work, key = work_of(setting, precision, batch), jax.random.key(1)
    target = Target("10x transformers, eager", 10, is_eager)
    setting.tell(decoded(setting, work, "sampling", sampler(work), key, target))


def sampler(work: Work) -> Callable:
    """Return (key, params, tokens) -> what is drawn."""
    rules = opt.Rules(work.text.shape[1], work.text.shape[1])
    return lambda key, params, tokens: opt.sample(key, work.config, params, tokens, rules=rules)


def beams(batch: int, precision: str, setting: Setting) -> None:
    """Tell of writing 64 tokens after 64 by five beams."""
    work = work_of(setting, precision, batch)
    rules = opt.Rules(work.text.shape[1], work.text.shape[1])
    search = lambda key, params, tokens: opt.beam_search(  # noqa: E731
        work.config, params, tokens, rules=rules, num_beams=BEAMS
    )
    target = Target("8x transformers, eager", 8, is_eager)
    setting.tell(decoded(setting, work, f"{BEAMS} beams", search, jax.random.key(1), target, BEAMS))


def decoded(
    setting: Setting, work: Work, kind: str, decode: Callable, key: Key, target: Target | None, num_beams: int = 0
) -> Found:
    """Return the row of a way to decode."""
    tokens = jnp.asarray(work.text, jnp.int32)
    program = compiled(decode, key, work.params, tokens)
    ours = Side("ours", lambda: program.run(key, work.params, tokens), work.text.size)
    peers, note = peers_of(setting, work, "decoders", num_beams) if target else ([], "")
    name = f"{work.model}, {kind}, {tokens.shape[1]} after {work.size}"
    with torch_precision(work.precision):
        cost = decoding_floor(setting, work, max(num_beams, 1))
        return measured(setting, name, "tokens", ours, program, peers=peers, note=note, cost=cost, target=target)


def decoding_floor(setting: Setting, work: Work, num_beams: int) -> tuple[str, float] | None:
    """Return what binds decoding, and the least seconds a written token: the weights and the cache are read at each."""
    config, (batch, length) = work.config, work.text.shape
    width = 2 if config.dtype == "bfloat16" else 4
    of_place = 2 * config.num_layers * config.hidden_size * width  # its keys and values
    # weights stay float32; the prompt's cache is shared by beams, that of new tokens is on average half full
    read = 4 * config.num_parameters + batch * of_place * length * (1 + num_beams / 2)
    operations = training_flops(config, length) / 3 * num_beams
    return binding(
        at_ceiling(copy_ceiling(setting), read / batch),
        at_ceiling(product_ceiling(setting, work.precision), operations),
    )


def scoring(setting: Setting) -> None:
    """Tell of the log-probabilities of texts."""
    work = work_of(setting, "tf32", 128)
    tokens = jnp.asarray(work.text, jnp.int32)
    program = compiled(partial(opt.sequence_log_probs, work.config), work.params, tokens)
    ours = Side("ours", lambda: program.run(work.params, tokens), work.text.size)
    cost = at_ceiling(product_ceiling(setting, "tf32"), training_flops(work.config, tokens.shape[1]) / 3)
    peers, note = peers_of(setting, work, "scorers")
    with torch_precision("tf32"):
        name = f"{work.model}, scoring, {work.size}"
        setting.tell(measured(setting, name, "tokens", ours, program, peers=peers, note=note, cost=cost))


def protocol(setting: Setting) -> None:
    """Tell what the published protocol would take, extrapolated from the rows of training, beams and scoring."""
    rate = lambda name: (setting.before.get(name) or {}).get("rate")  # noqa: E731
    told = False
    for precision in _PRECISIONS:
        beam = rate("opt-beams-128-bfloat16" if precision == "bfloat16" else "opt-beams-128")
        train, score, length = rate(f"opt-train-{precision}"), rate("opt-score"), 64
        beam, note = (beam, "") if beam else (rate("opt-beams-128"), "beams in TF32; ")
        if not (train and beam and score):
            continue
        epoch, written = BLOCKS * length / train + VALIDATION * length / score, BLOCKS * length / beam
        settings = {name: epochs * epoch + written for name, epochs in EPOCHS.items()}
        whole = sum(settings.values()) * GENERATIONS * SEEDS
        said = "; ".join(f"setting {name} {seconds:,.0f} s a generation" for name, seconds in settings.items())
        note = (
            f"EXTRAPOLATED, not run: {note}{said}; {GENERATIONS} generations of {SEEDS} seeds in both settings "
            f"{whole / 3600:.1f} h ({BLOCKS:,} blocks, {VALIDATION:,} of validation scored after each epoch)"
        )
        numbers = {f"seconds_{name}": seconds for name, seconds in settings.items()} | {"hours": whole / 3600}
        setting.tell(Found(f"published OPT protocol, training in {precision}", note=note, part=precision,
                           numbers=numbers))  # fmt: skip
        told = True
    if not told:
        raise ValueError("rows opt-train-*, opt-beams-128 and opt-score must be measured first.")


def is_eager(name: str) -> bool:
    """Return whether a peer is transformers as people call it."""
    return name == "transformers" or (name.startswith("transformers, ") and "cache" not in name)


def peers_of(setting: Setting, work: Work, kind: str, num_beams: int = 0) -> tuple[list[Side], str]:
    """Return transformers' ways with the same weights, on the card where PyTorch has one, and what is to be said."""

    def make() -> Iterable[Side]:
        import torch
        from peers import transformers_opt

        device = "cuda" if torch.cuda.is_available() else "cpu"
        narrow = torch.bfloat16 if work.precision == "bfloat16" else None
        stays = kind == "trainers"  # its weights stay float32 under autocast, as ours do
        model = transformers_opt.same_weights(work.config, work.params, device, None if stays else narrow)
        if kind == "trainers":
            return transformers_opt.trainers(model, work.text, narrow)
        if kind == "scorers":
            return transformers_opt.scorers(model, work.text)
        return transformers_opt.decoders(model, work.text, work.text.shape[1], num_beams)

    return gathered(setting, make)


@contextlib.contextmanager
def torch_precision(precision: str) -> Iterator[None]:
    """Let PyTorch's float32 products, and its convolutions, be as precise as ours."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(_TORCH[precision])
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


ROWS = {
    **{f"opt-train-{precision}": partial(training, precision) for precision in _PRECISIONS},
    "opt-sample-128": partial(sampling, 128, "tf32"),
    "opt-sample-512": partial(sampling, 512, "tf32"),
    "opt-beams-128": partial(beams, 128, "tf32"),
    "opt-score": scoring,
    "opt-protocol": protocol,
    "opt-sample-128-bfloat16": partial(sampling, 128, "bfloat16"),
    "opt-beams-128-bfloat16": partial(beams, 128, "bfloat16"),
}
