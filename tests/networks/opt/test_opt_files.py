"""Files that are not what they should be: each is refused in a sentence that names it, and nothing is run."""

import json
import os
import pickle
import shutil
from dataclasses import replace

import huggingface_hub
import msgpack
import numpy as np
import pytest
import safetensors.numpy
from flax import serialization
from tiny_opt import CONFIGS, FILES, SMALL, equal, random_params, rewrite

from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.config_json import read_config
from collapse_jax.networks.opt.weights import from_tensors, load_opt, save_opt, to_tensors

FC1 = "model.decoder.layers.1.fc1.weight"


@pytest.fixture
def folder(tmp_path):
    """A folder with a model, to be spoilt."""
    save_opt(tmp_path / "model", SMALL, random_params(SMALL))
    return tmp_path / "model"


def reconfigure(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))


def test_all_mismatches_are_in_one_sentence(folder):
    def spoil(tensors):
        del tensors["model.decoder.layers.0.fc2.bias"]
        tensors[FC1] = tensors[FC1].T.copy()
        tensors["model.decoder.layers.2.fc1.weight"] = tensors[FC1]
        tensors["model.decoder.embed_positions.weight"] = np.zeros((12, 8), np.int32)
        tensors["decoder.final_layer_norm.bias"] = tensors["model.decoder.final_layer_norm.bias"].copy()

    rewrite(folder, spoil)
    with pytest.raises(ValueError) as told:
        load_opt(folder)
    for part in (
        "model.decoder.layers.0.fc2.bias is missing",
        f"{FC1} has shape [8, 12] instead of [12, 8]",
        "model.decoder.layers.2.fc1.weight has no place in this model",
        "model.decoder.embed_positions.weight has type int32",
        "final_layer_norm.bias comes twice",
    ):
        assert part in str(told.value)
    assert str(told.value).count(";") == 5


@pytest.mark.parametrize("tied", ["lm_head.weight", "lm_head.kernel"])
def test_a_head_of_its_own_is_refused(tied):
    tensors = to_tensors(SMALL, random_params(SMALL))
    embedding = tensors["model.decoder.embed_tokens.weight"]
    good = embedding.T if tied.endswith("kernel") else embedding
    from_tensors(SMALL, {**tensors, tied: good}.items())
    with pytest.raises(ValueError, match=f"{tied} differs from the token embedding"):
        from_tensors(SMALL, {**tensors, tied: good + 1e-3}.items())


@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_safetensors_cut_off_anywhere_is_refused(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model\.safetensors' is damaged, cut off or of another kind"):
        load_opt(folder)


@pytest.mark.parametrize("content", ["cut", "empty", "noise", "object", "object array"])
def test_a_bad_msgpack_is_refused(tmp_path, content):
    shutil.copytree(FILES / "flax_opt_pre", tmp_path / "m")
    path = tmp_path / "m" / "flax_model.msgpack"
    whole = path.read_bytes()
    array = msgpack.packb(((1,), "object", b"12345678"), use_bin_type=True)
    path.write_bytes({
        "cut": whole[:-40], "empty": b"", "noise": os.urandom(64) + whole, "object": serialization.msgpack_serialize(
            {"model": {"decoder": "text"}}
        ), "object array": msgpack.packb({"model": msgpack.ExtType(1, array)}),
    }[content])  # fmt: skip
    with pytest.raises(ValueError, match=r"flax_model\.msgpack' is damaged, cut off or of another kind"):
        load_opt(tmp_path / "m")


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_never_run(folder, tmp_path):
    """With PyTorch its weights-only loader refuses it, without PyTorch nobody opens it."""
    (folder / "model.safetensors").unlink()
    trap = tmp_path / "trap"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({FC1: Malicious(str(trap))}, protocol=2))
    with pytest.raises((ValueError, ImportError), match=r"pytorch_model\.bin' is"):
        load_opt(folder)
    assert not trap.exists()


@pytest.mark.parametrize("torch", [None, "2.5.1"])
def test_a_bin_without_a_safe_torch_says_how_to_convert_it(folder, torch, monkeypatch):
    fake = None if torch is None else type("torch", (), {"__version__": torch})
    monkeypatch.setitem(__import__("sys").modules, "torch", fake)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ImportError, match=r"pytorch_model\.bin.*install torch >= 2\.6, or convert.*save_pretrained"
    ):
        load_opt(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"activation_function": "gelu"}, "activation_function='gelu'; only 'relu'"),
        ({"layerdrop": 0.1}, "layerdrop=0.1"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"model_type": "gpt2"}, "model_type='gpt2'; only 'opt'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config="),
        ({"hidden_size": "8"}, "hidden_size='8'; set it to a value of type int"),
        ({"bos_token_id": [1]}, r"bos_token_id=\[1\]; set it to a value of type int, or null"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings='no'; set it to true or false"),
        ({"enable_bias": 1}, "enable_bias=1; set it to a value of type bool"),
        ({"num_attention_heads": 3}, "`hidden_size` must be a multiple of `num_heads`"),
        ({"num_hidden_layers": 1}, r"layers\.1\.\S+ has no place in this model \(and 15 more\)"),
        ({"do_layer_norm_before": False}, r"decoder\.final_layer_norm\.bias has no place"),
    ],
)  # fmt: skip
def test_configurations_that_are_not_computed_are_refused(folder, changes, told):
    reconfigure(folder, **changes)
    with pytest.raises(ValueError, match=told):
        load_opt(folder)


def test_a_configuration_left_short_means_the_published_defaults(folder):
    (folder / "config.json").write_text('{"model_type": "opt", "num_attention_heads": 2, "dropout": 0}')
    assert read_config(folder) == (OPTConfig(num_heads=2, dropout=0.0), True)


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("config.json", None, FileNotFoundError, r"has no config\.json"),
        ("config.json", "{", ValueError, r"config\.json' is damaged"),
        ("config.json", "[]", ValueError, "no JSON object"),
        (
            "model.safetensors",
            None,
            FileNotFoundError,
            r"holds no weights; it needs one of model\.safetensors",
        ),
    ],
)
def test_missing_and_broken_files_are_named(folder, name, content, error, told):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(error, match=told):
        load_opt(folder)


def test_a_model_in_the_way_is_not_replaced_unasked(folder):
    (folder / "vocab.json").write_text("{}")
    other = random_params(SMALL, seed=1)
    with pytest.raises(ValueError, match=r"already holds config\.json; name another folder"):
        save_opt(folder, SMALL, other)
    assert equal(load_opt(folder)[1], random_params(SMALL))
    save_opt(folder, SMALL, other, overwrite=True)
    assert equal(load_opt(folder)[1], other)
    assert (folder / "vocab.json").exists()
    with pytest.raises(ValueError, match="is a file; name a folder"):
        save_opt(folder / "vocab.json", SMALL, other)


@pytest.mark.parametrize("moment", ["write", "first rename", "last rename"])
def test_an_interrupted_save_leaves_the_old_model_or_none(folder, moment, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    rename, calls = os.replace, []

    def sometimes(source, target):
        calls.append(target)
        if len(calls) == (1 if moment == "first rename" else 3):
            stop()
        rename(source, target)

    if moment == "write":
        monkeypatch.setattr(safetensors.numpy, "save_file", stop)
    else:
        monkeypatch.setattr(os, "replace", sometimes)
    with pytest.raises(KeyboardInterrupt):
        save_opt(folder, SMALL, random_params(SMALL, seed=1), overwrite=True)
    if moment == "write":
        assert equal(load_opt(folder)[1], random_params(SMALL))
    else:
        with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
            load_opt(folder)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def test_parameters_of_another_configuration_are_not_written(tmp_path):
    for wrong in (CONFIGS["350m"], CONFIGS["bare"], replace(SMALL, ffn_size=16)):
        with pytest.raises(ValueError, match="`params` do not fit `config`"):
            save_opt(tmp_path / "x", SMALL, random_params(wrong))
    assert not (tmp_path / "x").exists()


def test_the_hub_is_asked_only_for_what_is_not_here(folder, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        # as a hub that has no safetensors of this model
        return str(FILES / "flax_opt_pre")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load_opt(str(folder))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_opt("./nowhere")
    assert asked == []
    config, _ = load_opt("someone/some-opt")
    assert config.hidden_size == 16
    assert asked == [
        ("someone/some-opt", ("config.json", "generation_config.json", "model*.safetensors*")),
        ("someone/some-opt", ("config.json", "generation_config.json", "flax_model*.msgpack*")),
    ]


def test_a_hub_out_of_reach_says_what_to_do_without_it(monkeypatch):
    def download(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*\(ConnectionError\); put its files"):
        load_opt("facebook/opt-125m")
