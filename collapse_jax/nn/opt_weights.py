"""OPT's weights in and out of the Hugging Face format, by one table of names.

    source tensor = cut(params[path]),    cut: a third of the joint kernel, transposed

`load_opt` reads what is published (safetensors, Flax's msgpack, PyTorch's .bin) and `save_opt` writes safetensors;
both go through the same table and the same `cut`, so that one is the inverse of the other. A file is never trusted:
no pickle is run, and every tensor is used, known to be superfluous, or named in an error.

Reference: Zhang et al. (2022), "OPT: Open Pre-trained Transformer Language Models"; names as in
`transformers.OPTForCausalLM`.
"""

import dataclasses
import os
import reprlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from collapse_jax.gate import TOLD, memory, size_of
from collapse_jax.nn.files import damaged, find_folder, read_json, write_json, write_together
from collapse_jax.nn.opt import abstract_params
from collapse_jax.nn.opt_config import OPTConfig
from collapse_jax.nn.tensor_files import PATTERNS, Layout, read_tensors, weight_files
from collapse_jax.types import Params

# Published name -> place in our parameters; queries, keys and values are thirds 0, 1, 2 of one kernel.
_TOP: dict[str, tuple[str, ...]] = {
    "embed_tokens": ("tokens",),
    "embed_positions": ("positions",),
    "project_in": ("project_in",),
    "project_out": ("project_out",),
    "final_layer_norm": ("final_norm",),
}
_LAYER: dict[str, tuple[tuple[str, ...], int | None]] = {
    "self_attn.q_proj": (("attention", "qkv"), 0),
    "self_attn.k_proj": (("attention", "qkv"), 1),
    "self_attn.v_proj": (("attention", "qkv"), 2),
    "self_attn.out_proj": (("attention", "out"), None),
    "self_attn_layer_norm": (("attention_norm",), None),
    "fc1": (("up",), None),
    "fc2": (("down",), None),
    "final_layer_norm": (("ffn_norm",), None),
}
_HEADS = ("lm_head.weight", "lm_head.kernel")  # tied: must repeat the token embedding
_IGNORED = ("decoder.version",)  # a counter of fairseq's, no weight
_MOST_TOLD = 20  # of what does not fit
_FLOATS = ("float16", "bfloat16", "float32", "float64")

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
    "pad_token": "pad_token_id",
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "init_std": "init_std",
}
_FIXED: dict[str, Any] = {
    "model_type": "opt",
    "activation_function": "relu",
    "layerdrop": 0.0,
    "tie_word_embeddings": True,
    "quantization_config": None,
}


class Place(NamedTuple):
    """Where a source tensor lives in our parameters.

    Attributes:
        path: keys down the nested dict.
        third: which third of the last axis; None: all of it.
        transposed: the source has its two axes the other way round.
    """

    path: tuple[str | int, ...]
    third: int | None
    transposed: bool


def name_table(config: OPTConfig, layout: Layout = "torch") -> dict[str, Place]:
    """Return the table of names: source key, without a leading "model.", -> its place in our parameters.

    Args:
        config: of the model; switched-off parts have no rows.
        layout: of the source; "torch" stores linear kernels as [outputs, inputs], "flax" as we do.

    >>> name_table(OPTConfig(num_layers=1))["decoder.layers.0.self_attn.k_proj.weight"]
    Place(path=('layers', 0, 'attention', 'qkv', 'kernel'), third=1, transposed=True)
    """
    rows: list[tuple[str, tuple[str | int, ...], int | None]] = [
        (f"decoder.{name}", path, None) for name, path in _TOP.items()
    ]
    for layer in range(config.num_layers):
        for name, (inner, third) in _LAYER.items():
            rows.append((f"decoder.layers.{layer}.{name}", ("layers", layer, *inner), third))
    abstract, table = abstract_params(config), {}
    for name, path, third in rows:  # _leaf finds nothing where a part is switched off
        for leaf in _leaf(abstract, path) or {}:
            key = "weight" if layout == "torch" and leaf != "bias" else leaf
            transposed = layout == "torch" and leaf == "kernel"
            table[f"{name}.{key}"] = Place((*path, leaf), third, transposed)
    return table


def load_opt(source: str | os.PathLike[str], **changes: Any) -> tuple[OPTConfig, Params]:
    """Return the configuration and the weights of an OPT in the Hugging Face format.

    Args:
        source: a folder with config.json and model.safetensors, flax_model.msgpack or pytorch_model.bin (or their
            shards and index), or a hub id when there is no such folder.
        **changes: fields of the configuration to set, such as `dtype="bfloat16"` or `remat=True`.

    Returns:
        The configuration, and float32 weights whatever the file's precision (float64 with `dtype="float64"`).

    Raises:
        FileNotFoundError: no such folder or hub id, or a file is missing.
        ValueError: a file is damaged, the configuration is none computed here, or tensors do not fit it.
        ImportError: there is only a .bin, and no PyTorch that reads it safely.

    >>> config, params = load_opt("facebook/opt-125m")  # doctest: +SKIP
    """
    folder = find_folder(source, [("config.json", pattern) for pattern in PATTERNS])
    config = dataclasses.replace(_read_config(folder / "config.json"), **changes)
    _check_sizes(config, weight_files(folder))
    layout, tensors = read_tensors(folder)
    return config, from_tensors(config, tensors, layout, str(folder))


def from_tensors(
    config: OPTConfig,
    tensors: Iterable[tuple[str, np.ndarray]],
    layout: Layout = "torch",
    origin: str = "tensors",
) -> Params:
    """Return our parameters, filled from named tensors.

    Args:
        config: of the model.
        tensors: pairs of name and value; they are taken one at a time.
        layout: of the values, as in `name_table`.
        origin: where they come from, for errors.

    Raises:
        ValueError: tensors that are missing, superfluous, doubled, of another shape or no floats: all in one.
    """
    left = name_table(config, layout)
    known, problems, heads = set(left), [], {}
    params = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), abstract_params(config))
    for name, tensor in tensors:
        plain = name.removeprefix("model.")
        if plain in _IGNORED:
            continue
        if plain in _HEADS:
            heads[name] = tensor.T if plain.endswith("kernel") else tensor
        elif plain in left:
            problems += _fill(name, params, left.pop(plain), tensor)
        else:
            problems.append(f"{name} {'comes twice' if plain in known else 'has no place in this model'}")
    problems += [f"model.{name} is missing" for name in left]
    problems = problems or _untied(heads, params["tokens"]["embedding"])
    if problems:
        left_out = [f"and {len(problems) - _MOST_TOLD:,} more"] if len(problems) > _MOST_TOLD else []
        problems = [*problems[:_MOST_TOLD], *left_out]
        raise ValueError(
            f"the weights in '{origin}' do not fit the configuration: {'; '.join(problems)}; "
            "take config.json and weights from the same model."
        )
    return jax.tree.map(jnp.asarray, params)


def to_tensors(config: OPTConfig, params: Params) -> dict[str, np.ndarray]:
    """Return the weights by their published names, laid out as PyTorch does.

    Raises:
        ValueError: the parameters are not those of this configuration.
    """
    # half precision, as the published files have, may be written: one type for all
    half = params["tokens"]["embedding"].dtype == jnp.float16 if "tokens" in params else False
    shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), params)
    wanted = jax.tree.map(
        lambda leaf: (leaf.shape, "float16" if half else str(leaf.dtype)), abstract_params(config)
    )
    if shapes != wanted:
        raise ValueError(
            "`params` do not fit `config`: a leaf is missing, superfluous, or of another shape or type; "
            "give one model's parameters, with the configuration they were made for."
        )
    # safetensors writes an array's memory as it lies, so a transposed view must be laid out anew
    return {
        f"model.{name}": np.ascontiguousarray(_cut(np.asarray(_leaf(params, place.path)), place))
        for name, place in name_table(config).items()
    }


def save_opt(
    folder: str | os.PathLike[str], config: OPTConfig, params: Params, overwrite: bool = False
) -> None:
    """Write a folder that `load_opt` and `transformers.OPTForCausalLM.from_pretrained` read back, equal.

    Args:
        folder: made when missing; a tokenizer may be in it.
        config: of the model. How it computes (`dtype`, `precision`, `remat`) is not written.
        params: its weights.
        overwrite: replace a model that is already there.

    Raises:
        ValueError: the folder holds a model already, or the parameters are not those of this configuration.
    """
    folder = Path(folder)
    there = [path for pattern in ("config.json", *PATTERNS) for path in folder.glob(pattern)]
    if there and not overwrite:
        raise ValueError(
            f"'{folder}' already holds {there[0].name}; name another folder, or pass overwrite=True."
        )
    tensors = to_tensors(config, params)
    tokens = {_FIELDS[name]: getattr(config, name) for name in ("pad_token", "bos_token", "eos_token")}
    dtype = np.asarray(params["tokens"]["embedding"]).dtype
    writers = {
        "generation_config.json": write_json({"_from_model_config": True, **tokens}),
        "model.safetensors": lambda path: safetensors.numpy.save_file(
            tensors, path, metadata={"format": "pt"}
        ),
        "config.json": write_json(_written_config(config, dtype)),
    }
    write_together(folder, writers)


def _written_config(config: OPTConfig, dtype: np.dtype) -> dict[str, Any]:
    fields = {**_FIXED, **{theirs: getattr(config, ours) for ours, theirs in _FIELDS.items()}}
    fields[_FIELDS["final_norm"]] = not config.final_norm
    said = {name: value for name, value in fields.items() if value is not None}
    return {**said, "architectures": ["OPTForCausalLM"], "torch_dtype": dtype.name}


def _check_sizes(config: OPTConfig, files: Sequence[Path]) -> None:
    """Refuse weights that cannot be those of a configuration, before memory is asked for.

    Raises:
        ValueError: the files hold too little, or far too much, or the weights need more memory than there is.
    """
    wanted, held = config.num_parameters, sum(size_of(path) for path in files)
    # of two bytes each at the least; of eight at the most, with a second copy of the embedding and the tensors' names
    if not 2 * wanted <= held <= 16 * wanted + TOLD:
        raise ValueError(damaged(files[0], f"config.json asks for {wanted:,} weights, and there are {held:,} bytes"))
    if 4 * wanted > memory():
        raise ValueError(
            f"'{files[0]}' and config.json ask for {wanted:,} weights, which need {4 * wanted:,} bytes in float32, and "
            f"this machine has {memory():,}; take a smaller model."
        )


def _read_config(path: Path) -> OPTConfig:
    content = read_json(path)
    for name, only in _FIXED.items():
        if content.get(name, only) != only:
            raise ValueError(f"'{path}' says {name}={reprlib.repr(content[name])}; only {only!r} is computed here.")
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
    return OPTConfig(**values)


def _leaf(tree: Any, path: Iterable[str | int]) -> Any:
    """Return what lies at a path of a nested dict, or None."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _cut(leaf: np.ndarray, place: Place) -> np.ndarray:
    """Return the part of our array that is the source's tensor, seen as the source lays it out."""
    if place.third is not None:
        width = leaf.shape[-1] // 3
        leaf = leaf[..., place.third * width : (place.third + 1) * width]
    return leaf.T if place.transposed else leaf


def _fill(name: str, params: Params, place: Place, tensor: np.ndarray) -> list[str]:
    view = _cut(_leaf(params, place.path), place)
    if tensor.dtype.name not in _FLOATS:
        return [f"{name} has type {tensor.dtype}, not one of {', '.join(_FLOATS)}"]
    if view.shape != tensor.shape:
        return [f"{name} has shape {list(tensor.shape)} instead of {list(view.shape)}"]
    view[...] = tensor
    return []


def _untied(heads: dict[str, np.ndarray], embedding: np.ndarray) -> list[str]:
    return [
        f"{name} differs from the token embedding, to which OPT's head is tied"
        for name, head in heads.items()
        if not np.array_equal(head.astype(embedding.dtype), embedding, equal_nan=True)
    ]
