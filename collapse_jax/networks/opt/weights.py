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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from collapse_jax.files.reading import TOLD, memory, size_of
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.config_json import config_content, generation_content, read_config
from collapse_jax.networks.opt.hub import damaged, find_folder, write_json, write_together
from collapse_jax.networks.opt.model import abstract_params
from collapse_jax.networks.opt.other_folders import adapter_in, instead_of_weights
from collapse_jax.networks.opt.tensor_files import PATTERNS, Layout, read_tensors, weight_files
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
# what compilers, trainers and other classes put around a model's names
_WRAPPERS = frozenset(
    ("model", "module", "base_model", "_orig_mod", "_forward_module", "_fsdp_wrapped_module",
     "_checkpoint_wrapped_module")
)  # fmt: skip
_BUFFERS = ("version", "_float_tensor", "inv_freq", "masked_bias", "position_ids")  # constants and counters
_FLOATS = ("float16", "bfloat16", "float32", "float64")

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
    """Return the table of names: source key, without "model." and other wrappers, -> its place in our parameters.

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
    described = ("config.json", "generation_config.json")
    folder = find_folder(source, [(*described, pattern) for pattern in PATTERNS])
    if other := adapter_in(folder) or instead_of_weights(folder):
        raise FileNotFoundError(other)
    config, tied = read_config(folder)
    config = dataclasses.replace(config, **changes)
    _check_sizes(config, weight_files(folder))
    layout, tensors = read_tensors(folder)
    return config, from_tensors(config, tensors, layout, str(folder), tied=tied)


def from_tensors(
    config: OPTConfig,
    tensors: Iterable[tuple[str, np.ndarray]],
    layout: Layout = "torch",
    origin: str = "tensors",
    *,
    tied: bool = True,
) -> Params:
    """Return our parameters, filled from named tensors.

    Args:
        config: of the model.
        tensors: pairs of name and value; they are taken one at a time.
        layout: of the values, as in `name_table`.
        origin: where they come from, for errors.
        tied: the head is the token embedding, and either may stand for both; else both must be there, and be equal.

    Raises:
        ValueError: tensors that are missing, superfluous, doubled, of another shape or no floats: an example of each
            kind, in one sentence.
    """
    left = name_table(config, layout)
    known, problems, heads = set(left), _Problems(), {}
    params = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), abstract_params(config))
    for name, tensor in tensors:
        plain = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if plain in _HEADS:
            heads[name] = tensor.T if plain.endswith("kernel") else tensor
        elif plain in left:
            problems.add(*_fill(name, params, left.pop(plain), tensor))
        elif plain in known:
            problems.add("twice", f"{name} comes twice")
        elif not _is_buffer(plain, tensor):
            is_lora = ".lora_" in name or ".base_layer." in name
            lora = " (LoRA's: merge it into its base model first)" if is_lora else ""
            problems.add("superfluous", f"{name:.100} has no place in this model{lora}")
    embedding = next(name for name in known if name.startswith("decoder.embed_tokens."))
    if embedding in left and tied and heads:
        name, head = next(iter(heads.items()))
        problems.add(*_fill(name, params, left.pop(embedding), head))
    for name in left:
        problems.add("missing", f"model.{name} is missing")
    if not problems:
        for problem in _untied(heads, params["tokens"]["embedding"], tied):
            problems.add("head", problem)
    if problems:
        raise ValueError(
            f"the weights in '{origin}' do not fit the configuration: {problems.told()}; "
            "take config.json and weights from the same model."
        )
    return jax.tree.map(jnp.asarray, params)


class _Problems(dict[str, list[str]]):
    """What does not fit, by its kind; false where all does."""

    def add(self, kind: str = "", told: str = "") -> None:
        if kind:
            self.setdefault(kind, []).append(told)

    def told(self) -> str:
        """Return the first of each kind, and how many more there are of it."""
        rest = [f" (and {len(of_kind) - 1:,} more)" if len(of_kind) > 1 else "" for of_kind in self.values()]
        return "; ".join(of_kind[0] + more for of_kind, more in zip(self.values(), rest))


def _is_buffer(name: str, tensor: np.ndarray) -> bool:
    """Whether a tensor without a place is none that a model learns: transformers leaves these out, too."""
    last = name.rpartition(".")[2]
    return last in _BUFFERS or (tensor.dtype.name not in _FLOATS and last not in ("weight", "kernel", "scale"))


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
    dtype = np.asarray(params["tokens"]["embedding"]).dtype
    writers = {
        "generation_config.json": write_json(generation_content(config)),
        "model.safetensors": lambda path: safetensors.numpy.save_file(
            tensors, path, metadata={"format": "pt"}
        ),
        "config.json": write_json(config_content(config, dtype)),
    }
    write_together(folder, writers)


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


def _fill(name: str, params: Params, place: Place, tensor: np.ndarray) -> tuple[str, ...]:
    """Write a tensor into its place; return the kind of problem that stands against it and how it is told, or ()."""
    view = _cut(_leaf(params, place.path), place)
    if tensor.dtype.name not in _FLOATS:
        return "type", f"{name} has type {tensor.dtype}, not one of {', '.join(_FLOATS)}"
    if view.shape != tensor.shape:
        return "shape", f"{name} has shape {list(tensor.shape)} instead of {list(view.shape)}"
    view[...] = tensor
    return ()


def _untied(heads: dict[str, np.ndarray], embedding: np.ndarray, tied: bool) -> list[str]:
    """Return what says that the head is not the token embedding."""
    if not tied and not heads:
        return ["config.json says tie_word_embeddings=False, and there is no lm_head.weight; only a tied head is read"]
    return [
        f"{name} differs from the token embedding, to which OPT's head is tied; only a tied head is read"
        for name, head in heads.items()
        if not np.array_equal(head.astype(embedding.dtype), embedding, equal_nan=True)
    ]
