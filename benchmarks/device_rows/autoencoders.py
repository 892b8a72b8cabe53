"""Training of many autoencoders at once beside PyTorch: one net after the other, and all of them under vmap."""

from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
from sides import Side
from vae import _MULTIPLIES, _NETS

from collapse_jax import load_mnist
from collapse_jax.core.data import Samples
from collapse_jax.types import Array, Key
from device_rows.ceilings import at_ceiling, product_ceiling
from device_rows.found import Program, Setting, Target, compiled, gathered, measured
from device_rows.language import torch_precision

_WORDS = {"conv": "conv VAE of the paper", "MLP": "MLP VAE 784-256-16"}
# steps of one run, fewer of many chains: a run takes about a second or less
_STEPS = {"conv": {1: 100, 16: 50, 64: 20, 256: 8}, "MLP": {1: 1000, 64: 200, 512: 50}}
_WITHOUT_PEERS = 256  # chains, from which PyTorch's nets under vmap would not fit beside ours


def row(kind: str, chains: int, setting: Setting) -> None:
    """Tell of the training of so many chains."""
    batch, steps = _NETS[kind][1], _STEPS[kind][chains]
    has_target = (kind, chains) == ("conv", 64)
    if setting.tiny:
        batch, steps, chains = 16, 2, min(chains, 2)
    ours, program = _trainer(kind, batch, steps, chains)
    many = f"{chains} chain{'s' if chains > 1 else ''}"
    alone = Target("10x one PyTorch process that trains one net", 10, lambda name: "vmap" not in name)
    operations = _MULTIPLIES[kind] * 6  # a multiply and an add, forward and twice backward
    peers, note = ([], "no peer is tried") if chains >= _WITHOUT_PEERS else _peers(setting, kind, batch, chains)
    with torch_precision("tf32"):
        setting.tell(
            measured(
                setting, f"{_WORDS[kind]}, batch {batch}, {many}, {steps} steps", "images", ours, program, peers=peers,
                note=note, cost=at_ceiling(product_ceiling(setting, "tf32"), operations),
                target=alone if has_target else None,
            )
        )  # fmt: skip


def _trainer(kind: str, batch: int, steps: int, chains: int) -> tuple[Side, Program]:
    """Return what trains so many chains from fresh weights."""
    pixels = jnp.asarray(load_mnist().images)
    model = _NETS[kind][0](num_steps=steps, batch_size=batch, synthetic="fixed")

    def fit(keys: Key, pixels: Array) -> Array:
        images = Samples(pixels, jnp.ones(pixels.shape[0]))
        params = jax.vmap(lambda key: model.init(key, images))(keys)
        trained, info = jax.vmap(lambda key, one: model.fit(key, one, images))(keys, params)
        return jax.tree.map(lambda leaf: leaf.sum(), (trained, info["loss"]))  # nothing of the last step is left out

    keys = jax.random.split(jax.random.key(0), chains)
    program = compiled(fit, keys, pixels)
    return Side("ours", lambda: program.run(keys, pixels), chains * steps * batch), program


def _peers(setting: Setting, kind: str, batch: int, chains: int) -> tuple[list[Side], str]:
    def make() -> Iterable[Side]:
        import torch
        from peers.torch_autoencoder import trainers

        on_card = torch.cuda.is_available()
        images = torch.tensor(load_mnist().images, device="cuda" if on_card else "cpu")
        steps = 2 if setting.tiny else 20
        return trainers(kind, images, batch, steps, chains, compiled=setting.compile_peers)

    return gathered(setting, make)


ROWS = {
    **{f"conv-{chains}": partial(row, "conv", chains) for chains in _STEPS["conv"]},
    **{f"mlp-{chains}": partial(row, "MLP", chains) for chains in _STEPS["MLP"]},
}
