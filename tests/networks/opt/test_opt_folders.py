"""OPT folders as others leave them: read as transformers reads them, or the cause in two lines."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from tiny_opt import CONFIGS, SMALL, equal, random_params, rewrite

from collapse_jax.networks.opt.beams import beam_search
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.decoding import Rules, greedy, sample
from collapse_jax.networks.opt.weights import from_tensors, load_opt, save_opt

PARAMS = random_params(SMALL)
EMBEDDING = "model.decoder.embed_tokens.weight"
TWO_LINES = 400  # characters, the folder's name among them


@pytest.fixture
def folder(tmp_path):
    save_opt(tmp_path / "model", SMALL, PARAMS)
    return tmp_path / "model"


def say(folder, file="config.json", **changes):
    """Change what a JSON file of the folder says."""
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}))


def renamed(change):
    """Return what gives every tensor another name."""

    def rename(tensors):
        for index, name in enumerate(list(tensors)):
            tensors[change(index, name)] = tensors.pop(name)

    return rename


def head_alone(tensors):
    tensors["lm_head.weight"] = tensors.pop(EMBEDDING)


def with_buffers(tensors):
    tensors["model.decoder.embed_positions.position_ids"] = np.arange(12)[None]
    tensors["model.decoder.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(2, np.float32)
    tensors["model.decoder.layers.1.self_attn.masked_bias"] = np.float32(-1e9)[None]
    tensors["model.decoder.layers.1.self_attn.causal"] = np.tri(4, dtype=bool)


def twice(tensors):
    tensors["lm_head.weight"] = tensors[EMBEDDING].copy()


READ_BY_BOTH = {
    "the head alone": head_alone,
    "embedding and head": twice,
    "short names": renamed(lambda _, name: name.removeprefix("model.")),
    "one more model.": renamed(lambda _, name: "model." + name),
    "long and short names": renamed(lambda index, name: name.removeprefix("model.") if index % 2 else name),
    "buffers": with_buffers,
}
READ_HERE = {  # transformers leaves these weights as they fall, with a warning
    "compiled": renamed(lambda _, name: "_orig_mod." + name),
    "in parallel": renamed(lambda _, name: "module." + name),
    "compiled in part": renamed(lambda index, name: "_orig_mod." + name if index % 2 else name),
    "a compiled layer": renamed(lambda _, name: name.replace("layers.1.", "layers.1._orig_mod.")),
    "compiled in parallel, the head alone": lambda tensors: (
        head_alone(tensors), renamed(lambda _, name: "module._orig_mod." + name)(tensors)
    ),
    "sharded by PyTorch": renamed(lambda _, name: "_fsdp_wrapped_module." + name),
    "merged by peft": renamed(lambda _, name: "base_model.model." + name),
}  # fmt: skip


@pytest.mark.parametrize("name", [*READ_BY_BOTH, *READ_HERE])
def test_weights_under_other_names_are_the_same_weights(folder, name):
    rewrite(folder, (READ_BY_BOTH | READ_HERE)[name])
    config, params = load_opt(folder)
    assert config == SMALL and equal(params, PARAMS)


@pytest.mark.parametrize("name", ["350m", "projected"])
def test_the_head_alone_has_the_width_of_the_embedding(tmp_path, name):
    save_opt(tmp_path, CONFIGS[name], random_params(CONFIGS[name]))
    rewrite(tmp_path, head_alone)
    assert equal(load_opt(tmp_path)[1], random_params(CONFIGS[name]))


def test_a_flax_head_alone_is_the_other_way_round():
    flax = "flax"
    arrays = {"decoder.embed_tokens.embedding": np.asarray(PARAMS["tokens"]["embedding"])}
    with pytest.raises(ValueError) as told:
        from_tensors(SMALL, [("lm_head.kernel", next(iter(arrays.values())).T)], flax)
    assert "embed_tokens" not in str(told.value) and "shape" not in str(told.value)
    with pytest.raises(ValueError, match=r"lm_head\.kernel has shape \[8, 24\] instead of \[24, 8\]"):
        from_tensors(SMALL, [("lm_head.kernel", next(iter(arrays.values())))], flax)


def test_an_untied_head_that_repeats_the_embedding_is_read(folder):
    say(folder, tie_word_embeddings=False)
    rewrite(folder, twice)
    assert equal(load_opt(folder)[1], PARAMS)


@pytest.mark.parametrize("dtype", ["float16", jnp.bfloat16])
def test_shards_of_half_precision_with_other_names(folder, dtype):
    """Two shards, compiled, the head in the second and no embedding."""
    rewrite(folder, READ_HERE["compiled in parallel, the head alone"])
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    where, names = {}, list(tensors)
    for number, part in enumerate((names[:9], names[9:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name].astype(dtype) for name in part}, folder / file)
        where.update(dict.fromkeys(part, file))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    rounded = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf).astype(dtype).astype("float32")), PARAMS)
    assert equal(load_opt(folder)[1], rounded)


def _untie(folder):
    say(folder, tie_word_embeddings=False)


def _other_head(folder):
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors[EMBEDDING] + 1}))


def _head_alone_untied(folder):
    _untie(folder)
    rewrite(folder, head_alone)


def _adapter_alone(folder):
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")


def _adapter_beside(folder):
    (folder / "adapter_config.json").write_text("{}")


def _as_another(name):
    def rename(folder):
        (folder / "model.safetensors").rename(folder / name)

    return rename


def _gguf(folder):
    (folder / "config.json").unlink()
    _as_another("opt-125m.Q4_K_M.gguf")(folder)


def _a_folder_of_checkpoints(folder):
    (folder / "checkpoint-500").mkdir()
    (folder / "model.safetensors").rename(folder / "checkpoint-500" / "model.safetensors")


def _lora_names(folder):
    rewrite(folder, renamed(lambda _, name: name.replace("q_proj", "q_proj.base_layer")))
    extra = {"model.decoder.layers.0.self_attn.q_proj.lora_A.default.weight": np.zeros((2, 8), np.float32)}
    rewrite(folder, lambda tensors: tensors.update(extra))


def _another_model(folder):
    rewrite(folder, renamed(lambda index, _: f"transformer.h.{index}.attn.c_attn.weight"))


CAUSES = {
    "untied, no head": (_untie, "says tie_word_embeddings=False, and there is no lm_head.weight"),
    "untied, the head alone": (_head_alone_untied, f"{EMBEDDING} is missing"),
    "another head": (_other_head, "lm_head.weight differs from the token embedding"),
    "adapter": (_adapter_alone, "holds adapter_config.json: changes to a base model.*merge_and_unload"),
    "adapter beside weights": (_adapter_beside, "holds adapter_config.json"),
    "gguf": (_gguf, "Q4_K_M.gguf .GGUF, llama.cpp's format.; take the folder that it was made from"),
    "onnx": (_as_another("model.onnx"), "model.onnx .ONNX, a compiled graph"),
    "tensorflow": (_as_another("tf_model.h5"), "tf_model.h5 .TensorFlow's weights.*from_tf=True"),
    "training": (_as_another("last.pt"), "last.pt .PyTorch's file of a training"),
    "a variant": (_as_another("model.fp16.safetensors"), "model.fp16.safetensors .safetensors of another name"),
    "checkpoints": (_a_folder_of_checkpoints, "its folder checkpoint-500 does"),
    "names of an adapter": (_lora_names, "LoRA's: merge it into its base model first"),
    "another model": (_another_model, r"c_attn.weight has no place .*\(and \d+ more\); model.*is missing \(and"),
    "a list of lists": (lambda f: say(f, "generation_config.json", eos_token_id=[[2]]), r"a list of them, or null"),
    "ends beyond the table": (lambda f: say(f, "generation_config.json", eos_token_id=[2, 99]), "below `vocab_size`"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_what_is_not_read_has_its_cause_in_two_lines(folder, name):
    spoil, cause = CAUSES[name]
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=cause) as told:
        load_opt(folder)
    assert len(str(told.value).replace(str(folder), "FOLDER")) < TWO_LINES and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("config", "generation", "wanted"),
    [
        ({"eos_token_id": [2, 7]}, None, {"eos_token": (2, 7)}),
        ({"eos_token_id": [7]}, None, {"eos_token": 7}),
        ({"eos_token_id": [5, 7], "pad_token_id": None}, None, {"eos_token": (5, 7), "pad_token": 5}),
        ({"eos_token_id": None}, None, {"eos_token": ()}),
        ({"bos_token_id": None}, None, {"bos_token": 2}),
        # `generate` asks generation_config.json alone, where there is one
        ({}, {"eos_token_id": [5, 7], "pad_token_id": 0}, {"eos_token": (5, 7), "pad_token": 0}),
        ({"eos_token_id": [3, 4]}, {"eos_token_id": 9}, {"eos_token": 9, "pad_token": 9}),
        ({}, {"max_length": 20}, {"eos_token": (), "pad_token": 0}),
        ({"num_key_value_heads": 1, "rope_theta": 1e4, "dtype": "float16", "use_cache": False}, None, {}),
    ],
)
def test_ends_and_padding_are_those_that_generate_takes(folder, config, generation, wanted):
    (folder / "generation_config.json").unlink()
    say(folder, **config)
    if generation is not None:
        say(folder, "generation_config.json", **generation)
    found, params = load_opt(folder)
    assert found == replace(SMALL, **wanted) and equal(params, PARAMS)
    save_opt(folder / "again", found, params)
    assert load_opt(folder / "again")[0] == found


def test_any_of_several_ends_ends_a_text():
    """What one end leaves running, another of the two stops; before `min_new_tokens` neither is said."""
    config, prompts = replace(SMALL, max_positions=64, dropout=0.0), np.arange(3, 19)[:, None]
    params = random_params(config, scale=0.6)
    key, whole = jax.random.key(0), Rules(12, ends=False)
    said = np.asarray(sample(key, config, params, prompts, rules=whole).tokens)
    first, second = (int(token) for token in np.argsort(np.bincount(said.ravel(), minlength=24))[-2:])
    several = replace(config, eos_token=(first, second), pad_token=0)
    found = sample(key, several, params, prompts, rules=Rules(12))
    is_end = (said == first) | (said == second)
    lengths = np.where(is_end.any(axis=1), is_end.argmax(axis=1) + 1, 12)
    np.testing.assert_array_equal(found.lengths, lengths)
    assert len(set(lengths.tolist())) > 2 and {first, second} <= {int(said[i, n - 1]) for i, n in enumerate(lengths)}
    late = np.asarray(sample(key, several, params, prompts, rules=Rules(12, 6)).tokens)[:, :6]
    assert not np.isin(late, [first, second]).any()
    none = sample(key, replace(config, eos_token=()), params, prompts, rules=Rules(12, 3))
    np.testing.assert_array_equal(none.tokens, said)
    assert (np.asarray(none.lengths) == 12).all()


def test_an_end_beyond_the_vocabulary_is_refused():
    for ends in ((2, 24), (-1,)):
        with pytest.raises(ValueError, match="`eos_token` must be"):
            replace(SMALL, eos_token=ends)
    assert OPTConfig(eos_token=(2, 5)).ends == (2, 5) and OPTConfig().ends == (2,)


@pytest.mark.parity
@pytest.mark.parametrize("name", READ_BY_BOTH)
def test_transformers_reads_the_same_from_these_names(folder, name):
    transformers = pytest.importorskip("transformers")
    rewrite(folder, READ_BY_BOTH[name])
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    theirs = transformers.OPTForCausalLM.from_pretrained(folder)
    weights = [(name, tensor.numpy()) for name, tensor in theirs.state_dict().items()]
    assert equal(from_tensors(SMALL, weights), load_opt(folder)[1])


@pytest.mark.parity
@pytest.mark.parametrize("ends", [[5, 9], [4, *range(8, 20)], None])
def test_transformers_generates_the_same_tokens_with_several_ends(tmp_path, ends):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = replace(SMALL, max_positions=48, embed_size=12)
    params = random_params(config, scale=0.4)
    save_opt(tmp_path, config, params)
    say(tmp_path, "generation_config.json", eos_token_id=ends, pad_token_id=1)
    read, _ = load_opt(tmp_path)
    model = transformers.OPTForCausalLM.from_pretrained(tmp_path).eval()
    prompts = np.random.default_rng(1).integers(3, 24, (24, 5))
    for rules in (Rules(16), Rules(16, 4)):
        for way, width in ((greedy, 1), (beam_search, 3)):
            # long texts are wanted, so that those that go on beside many ended ones count
            options = {"num_beams": width, "length_penalty": 3.0, "early_stopping": "never"} if width > 1 else {}
            ours = jax.jit(partial(way, read, rules=rules, **options))(params, prompts=prompts)
            with torch.no_grad():
                text = model.generate(
                    torch.tensor(prompts), attention_mask=torch.ones(24, 5, dtype=torch.long), do_sample=False,
                    max_new_tokens=16, min_new_tokens=rules.min_new_tokens, **options,
                ).numpy()[:, 5:]  # fmt: skip
            expected = np.pad(text, ((0, 0), (0, 16 - text.shape[1])), constant_values=1)
            np.testing.assert_array_equal(ours.tokens, expected)
