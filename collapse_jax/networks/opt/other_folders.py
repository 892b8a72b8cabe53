"""Folders that hold no weights of the kinds that are read: what they hold instead, and what helps.

`weights` asks before it reads, so that an adapter, another program's format or a folder of checkpoints meets its
cause and not a list of missing names.
"""

import os
from pathlib import Path

from collapse_jax.networks.opt.tensor_files import FORMATS, has_weights

_SAVE = "AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder)"
# a file's ending -> what it is, and what helps
_OTHERS = {
    ".gguf": ("GGUF, llama.cpp's format", "take the folder that it was made from, with model.safetensors"),
    ".onnx": ("ONNX, a compiled graph", "take the folder that it was exported from, with model.safetensors"),
    ".h5": ("TensorFlow's weights", f"write them anew with transformers 4 (from_tf=True): {_SAVE}"),
    ".distcp": ("a distributed checkpoint of PyTorch's", f"gather it, and write it with {_SAVE}"),
    ".safetensors": ("safetensors of another name, or shards without their index", "give the names and the index back"),
    ".bin": ("a .bin of another name, or shards without their index", "give the names and the index back"),
    ".msgpack": ("a msgpack of another name, or shards without their index", "give the names and the index back"),
    ".pt": ("PyTorch's file of a training", f"load it there, and write the model with {_SAVE}"),
    ".pth": ("PyTorch's file of a training", f"load it there, and write the model with {_SAVE}"),
    ".ckpt": ("a checkpoint of a training", f"load it there, and write the model with {_SAVE}"),
}
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def adapter_in(folder: Path) -> str:
    """Return why an adapter's folder is not read, "" for other folders.

    transformers puts an adapter on its base model where peft is installed, and leaves it out where it is not: beside
    weights of its own it is refused, too.
    """
    found = [name for name in _ADAPTER if (folder / name).exists()]
    if not found:
        return ""
    return (
        f"'{folder}' holds {found[0]}: changes to a base model (LoRA), which are not added here; where peft is "
        "installed, PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(merged) makes one."
    )


def instead_of_weights(folder: Path) -> str:
    """Return what a folder without weights holds instead, "" where it has them or nothing is known of it."""
    if not folder.is_dir() or has_weights(folder):
        return ""
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    for ending, (what, remedy) in _OTHERS.items():
        for name in names:
            if name.lower().endswith(ending) and name not in ("training_args.bin", "optimizer.bin", "scheduler.bin"):
                return f"'{folder}' holds none of {', '.join(FORMATS)}, but {name:.60} ({what}); {remedy}."
    inside = [name for name in names if (folder / name).is_dir() and has_weights(folder / name)]
    if inside:
        return f"'{folder}' holds no weights itself, but its folder {inside[-1]:.60} does; give that one's path."
    return ""
