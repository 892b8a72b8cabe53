"""What a folder says of an OPT's shape and of its tokens, in config.json and generation_config.json, in and out.

    OPTConfig <-> config.json;   what ends and fills a text <- generation_config.json, where there is one

as transformers' `generate` has it: it reads the latter alone, and of several ends each ends a text. `weights`
calls this.
"""

import dataclasses
import reprlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.files.reading import is_there
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.hub import read_json

# Our field -> theirs; whatever else a config says must have the one value that is computed here.
_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "ffn_size": "ffn_dim",
    "max_positions": "max_position_embeddings",
    "embed_size": "word_embed_proj_dim",
    "pre_norm": "do_layer_norm_before",
    "final_norm": "_remove_final_layer_norm",  # the opposite
    "bias": "enable_bias",
    "affine": "layer_norm_elementwise_affine",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "init_std": "init_std",
}
_TOKENS = {"pad_token": "pad_token_id", "bos_token": "bos_token_id", "eos_token": "eos_token_id"}
_FIXED: dict[str, Any] = {
    "model_type": "opt",
    "activation_function": "relu",
    "layerdrop": 0.0,
    "quantization_config": None,
}


def read_config(folder: Path) -> tuple[OPTConfig, bool]:
    """Return the configuration that a folder's files say, and whether the head is tied to the token embedding.

    Raises:
        FileNotFoundError: there is no config.json.
        ValueError: a file is damaged, or says what is not computed here.
    """
    path = folder / "config.json"
    content = read_json(path)
    for name, only in _FIXED.items():
        if content.get(name) not in (None, only):
            raise ValueError(f"'{path}' says {name}={reprlib.repr(content[name])}; only {only!r} is computed here.")
    tied = content.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise ValueError(f"'{path}' says tie_word_embeddings={reprlib.repr(tied)}; set it to true or false.")
    values: dict[str, Any] = {}
    for ours, theirs in _FIELDS.items():
        value = content.get(theirs)
        if theirs not in content or (ours == "embed_size" and value in (None, content.get("hidden_size"))):
            continue
        kind: Any = int if ours == "embed_size" else type(getattr(OPTConfig(), ours))
        is_far = kind is float and type(value) is int and abs(value) > sys.float_info.max
        if type(value) not in ((int, float) if kind is float else (kind,)) or is_far:
            raise ValueError(
                f"'{path}' says {theirs}={reprlib.repr(value)}; set it to a value of type {kind.__name__}."
            )
        values[ours] = kind(value)
    values["final_norm"] = not values.get("final_norm", False)
    config = OPTConfig(**values, **_tokens(path, content, {}))
    generation = folder / "generation_config.json"
    if is_there(generation):
        told = {"pad_token_id": None, "eos_token_id": None, **read_json(generation)}
        config = dataclasses.replace(config, **_tokens(generation, told, {"bos_token": config.bos_token}))
    return config, tied


def _tokens(path: Path, content: dict[str, Any], known: dict[str, int]) -> dict[str, Any]:
    """Return the tokens that fill, begin and end texts, as a file says them, but for those that are known.

    What is null is the first end, by which `generate` fills; without an end nothing is filled, and any token will do.
    """
    found = {}
    for ours, theirs in _TOKENS.items():
        value = known.get(ours, content.get(theirs, getattr(OPTConfig(), ours)))
        found[ours] = _whole_numbers(path, theirs, value, several=ours == "eos_token")
    ends = found.pop("eos_token")
    instead = ends[0] if ends else 0
    single = {ours: value[0] if value else instead for ours, value in found.items()}
    return {**single, "eos_token": ends[0] if len(ends) == 1 else ends}


def _whole_numbers(path: Path, theirs: str, value: Any, several: bool = False) -> tuple[int, ...]:
    """Return the tokens of one name, () for null.

    Raises:
        ValueError: it is something else.
    """
    found = [] if value is None else value if several and isinstance(value, list) else [value]
    if any(type(token) is not int for token in found):
        kinds = "int, a list of them" if several else "int"
        raise ValueError(f"'{path}' says {theirs}={reprlib.repr(value)}; set it to a value of type {kinds}, or null.")
    return tuple(dict.fromkeys(found))


def config_content(config: OPTConfig, dtype: np.dtype) -> dict[str, Any]:
    """Return what config.json says of a model whose weights have this type."""
    fields = {**_FIXED, "tie_word_embeddings": True}
    fields |= {theirs: getattr(config, ours) for ours, theirs in _FIELDS.items()}
    fields["_remove_final_layer_norm"] = not config.final_norm
    said = {name: value for name, value in fields.items() if value is not None}
    return {**said, **_token_content(config), "architectures": ["OPTForCausalLM"], "torch_dtype": dtype.name}


def generation_content(config: OPTConfig) -> dict[str, Any]:
    """Return what generation_config.json says."""
    return {"_from_model_config": True, **_token_content(config)}


def _token_content(config: OPTConfig) -> dict[str, Any]:
    ends: Any = list(config.ends) if len(config.ends) > 1 else config.ends[0] if config.ends else None
    return {"pad_token_id": config.pad_token, "bos_token_id": config.bos_token, "eos_token_id": ends}
