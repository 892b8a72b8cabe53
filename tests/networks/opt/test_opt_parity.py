"""OPT against transformers' PyTorch OPT: logits, gradients, and files both ways, for every switch."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_opt import CONFIGS, SMALL, equal, random_params

from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.weights import from_tensors, load_opt, save_opt, to_tensors

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

# measured: 1e-6 and 2e-6; a mistake would be of the order of 1
LOGITS, GRADIENTS = 1e-5, 1e-4
LENGTH = SMALL.max_positions


def batch(padding):
    """Tokens and mask: rows of unequal length, with the padding on one side."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(3, SMALL.vocab_size, (4, LENGTH))
    place = np.arange(LENGTH)
    lengths = np.asarray([LENGTH, 7, 3, 1])[:, None]
    mask = {
        "none": np.ones_like(tokens, bool),
        "right": place < lengths,
        "left": place >= LENGTH - lengths,
    }[padding]
    return np.where(mask, tokens, SMALL.pad_token), mask


def theirs(folder, **options):
    model = transformers.OPTForCausalLM.from_pretrained(folder, attn_implementation="eager", **options)
    return model.eval()


@partial(jax.jit, static_argnums=0)
def our_logits(config, params, tokens, mask):
    return logits(config, params, hidden_states(config, params, tokens, mask))


@partial(jax.jit, static_argnums=0)
def loss_and_gradients(config, params, tokens, mask, counted):
    def loss(params):
        predicted = our_logits(config, params, tokens, mask)[:, :-1]
        each = optax.softmax_cross_entropy_with_integer_labels(predicted, tokens[:, 1:])
        return jnp.sum(each, where=counted) / counted.sum()

    return jax.value_and_grad(loss)(params)


def relative(ours, reference):
    return float(np.max(np.abs(np.asarray(ours) - reference)) / np.max(np.abs(reference)))


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request, tmp_path_factory):
    """Configuration, our weights, and their model of the same weights, read from the folder that we wrote."""
    config = CONFIGS[request.param]
    params = random_params(config)
    folder = tmp_path_factory.mktemp("model")
    save_opt(folder, config, params)
    return config, params, theirs(folder)


@pytest.mark.parametrize("padding", ["none", "right", "left"])
def test_logits_are_equal(pair, padding):
    config, params, model = pair
    tokens, mask = batch(padding)
    with torch.no_grad():
        expected = model(torch.tensor(tokens), attention_mask=torch.tensor(mask).long()).logits.numpy()
    ours = our_logits(config, params, tokens, mask)
    assert relative(ours[mask], expected[mask]) < LOGITS


@pytest.mark.parametrize("padding", ["none", "right", "left"])
def test_gradients_of_the_loss_are_equal(pair, padding):
    """Each tensor's gap is relative to the largest of that tensor's gradients."""
    config, params, model = pair
    tokens, mask = batch(padding)
    counted = mask[:, 1:] & mask[:, :-1]
    value, ours = loss_and_gradients(config, params, tokens, mask, counted)
    model.zero_grad()
    labels = np.concatenate([tokens[:, :1], np.where(counted, tokens[:, 1:], -100)], axis=1)
    reference = model(
        torch.tensor(tokens), attention_mask=torch.tensor(mask).long(), labels=torch.tensor(labels)
    ).loss
    reference.backward()
    assert float(value) == pytest.approx(reference.item(), rel=LOGITS)
    expected = from_tensors(
        config, [(name, weight.grad.numpy()) for name, weight in model.named_parameters()]
    )
    for (path, left), right in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(expected)):
        # a key's bias shifts all scores of a query alike: its gradient is 0 but for rounding
        if "qkv" in str(path) and "bias" in str(path):
            keys = slice(config.hidden_size, 2 * config.hidden_size)
            assert max(np.abs(left[keys]).max(), np.abs(right[keys]).max()) < 1e-6
        assert relative(left, np.asarray(right)) < GRADIENTS, jax.tree_util.keystr(path)


def test_what_is_written_here_is_theirs_without_a_word_of_complaint(pair, tmp_path):
    config, params, _ = pair
    save_opt(tmp_path, config, params)
    model, said = transformers.OPTForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(said.values()), said
    weights = {
        name: tensor.numpy() for name, tensor in model.state_dict().items() if name != "lm_head.weight"
    }
    mine = to_tensors(config, params)
    assert weights.keys() == mine.keys()
    assert all(np.array_equal(weights[name], mine[name]) for name in mine)
    assert model.dtype == torch.float32
    assert model.generation_config.eos_token_id == config.eos_token


def _torch_bin(model, folder, **options):
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin", **options)


def _short_bin(model, folder):
    model.config.save_pretrained(folder)
    short = {name.removeprefix("model."): tensor for name, tensor in model.state_dict().items()}
    torch.save(short, folder / "pytorch_model.bin")


def _bin_shards(model, folder):
    """Two .bin files and their index, as large published models have them."""
    model.config.save_pretrained(folder)
    state, where = list(model.state_dict().items()), {}
    for number, part in enumerate((state[::2], state[1::2]), start=1):
        file = f"pytorch_model-0000{number}-of-00002.bin"
        torch.save(dict(part), folder / file)
        where.update({name: file for name, _ in part})
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


WRITERS = {
    "safetensors": lambda model, folder: model.save_pretrained(folder),
    "shards": lambda model, folder: model.save_pretrained(folder, max_shard_size="2kB"),
    "bin": _torch_bin,
    "old bin": lambda model, folder: _torch_bin(model, folder, _use_new_zipfile_serialization=False),
    "bin of short names": _short_bin,
    "bin shards": _bin_shards,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_they_write_is_read_here(pair, writer, tmp_path):
    config, params, model = pair
    WRITERS[writer](model, tmp_path)
    assert (writer == "shards") == (tmp_path / "model.safetensors.index.json").exists()
    read, weights = load_opt(tmp_path)
    assert read == config
    assert equal(weights, params)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("writer", ["safetensors", "bin"])
def test_half_precision_files_are_widened(dtype, writer, tmp_path):
    params = random_params(SMALL)
    save_opt(tmp_path / "full", SMALL, params)
    WRITERS[writer](theirs(tmp_path / "full", dtype=getattr(torch, dtype)), tmp_path / "half")
    rounded = jax.tree.map(lambda leaf: leaf.astype(dtype).astype(jnp.float32), params)
    assert equal(load_opt(tmp_path / "half")[1], rounded)


def test_a_program_inside_a_zipped_bin_is_not_run(tmp_path):
    save_opt(tmp_path, SMALL, random_params(SMALL))
    (tmp_path / "model.safetensors").unlink()
    trap = tmp_path / "trap"

    class Malicious:
        def __reduce__(self):
            return trap.mkdir, ()

    torch.save({"model.decoder.embed_tokens.weight": Malicious()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin' is damaged, cut off or of another kind"):
        load_opt(tmp_path)
    assert not trap.exists()
    for content in ([1, 2], {"a": 3}, {"optimizer": {"lr": torch.ones(2)}}):
        torch.save(content, tmp_path / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"pytorch_model\.bin' is damaged, cut off or of another kind"):
            load_opt(tmp_path)
