"""OPT by transformers: decoding with its several caches, and training with its several optimisers."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch
import transformers
from sides import Side

from collapse_jax import opt
from collapse_jax.types import Params

RATE = 1e-4


def same_weights(config: opt.OPTConfig, params: Params, device: str = "cpu", dtype: Any = None) -> Any:
    """Return transformers' model with our weights."""
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        opt.save_opt(folder, config, jax.device_get(params))
        how = {} if dtype is None else {"dtype": dtype}
        model = transformers.OPTForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **how)
    return model.to(device).eval()


def decoders(model: Any, text: np.ndarray, num_new: int, num_beams: int = 0) -> Iterator[Side]:
    """Yield ways to continue `text` by exactly `num_new` tokens: drawn, or by `num_beams` beams."""
    tokens = torch.tensor(text, device=model.device)
    how = {"do_sample": False, "num_beams": num_beams} if num_beams else {"do_sample": True, "top_k": 0}
    how |= {"min_new_tokens": num_new, "max_new_tokens": num_new, "attention_mask": torch.ones_like(tokens)}

    @torch.inference_mode()
    def decode(**more: Any) -> None:
        model.generate(tokens, **how, **more)
        _wait(model)

    for threads in _threads(model):
        name, work = f"transformers{_said(model, threads)}", len(text) * num_new
        yield Side(name, _with(threads, decode), work)
        static = {"cache_implementation": "static"}
        yield Side(f"transformers, static cache{_said(model, threads)}", _with(threads, decode, **static), work)
    if model.device.type == "cpu":  # where generate compiles the forward pass only if it is told to
        compiling = transformers.CompileConfig(mode="default", fullgraph=False)
        compiling._compile_all_devices = True  # there is no other way to say so
        compiled, most = {**static, "compile_config": compiling}, max(_threads(model))
        yield Side(
            f"transformers, static cache, compiled{_said(model, most)}", _with(most, decode, **compiled), work
        )
    if model.device.type == "cuda":
        # generate compiles the forward pass itself with a static cache; here it is not to
        config = {"cache_implementation": "static", "disable_compile": True}
        yield Side("transformers, static cache, not compiled", lambda: decode(**config), len(text) * num_new)


def trainers(model: Any, text: np.ndarray, dtype: Any = None) -> Iterator[Side]:
    """Yield ways to take a step of AdamW on `text`; `dtype`, where given, is that of autocast."""
    tokens = torch.tensor(text, device=model.device)
    fused = {"fused": True}
    ways = (("AdamW", {}, False), ("fused AdamW", fused, False), ("compiled, fused AdamW", fused, True))
    for name, how, compiled in ways:
        for threads in _threads(model):
            step = _step(model, tokens, how, compiled, dtype)
            yield Side(f"transformers, {name}{_said(model, threads)}", _with(threads, step), text.size)


def scorers(model: Any, text: np.ndarray) -> Iterator[Side]:
    """Yield ways to score `text`."""
    tokens = torch.tensor(text, device=model.device)

    @torch.inference_mode()
    def score() -> float:
        return model(tokens, labels=tokens, use_cache=False).loss.item()

    yield Side("transformers", score, text.size)


def _step(model: Any, tokens: torch.Tensor, how: dict, compiled: bool, dtype: Any) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, **how)
    loss = lambda tokens: model(tokens, labels=tokens, use_cache=False).loss  # noqa: E731
    loss = torch.compile(loss) if compiled else loss

    def step() -> None:
        model.train()
        narrow = torch.autocast(model.device.type, dtype) if dtype else contextlib.nullcontext()
        with narrow:
            value = loss(tokens)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        _wait(model)

    return step


def _threads(model: Any) -> tuple[int, ...]:
    return (0,) if model.device.type == "cuda" else tuple(sorted({1, torch.get_num_threads()}))


def _said(model: Any, threads: int) -> str:
    return "" if model.device.type == "cuda" else f", {threads} thread{'s' if threads > 1 else ''}"


def _with(threads: int, function: Callable, **arguments: Any) -> Callable[[], None]:
    def run() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            function(**arguments)
        finally:
            torch.set_num_threads(before)

    return run


def _wait(model: Any) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()
