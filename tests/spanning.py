"""One language model whose weights lie in parts on the devices of several processes; started by `test_spanning`.

    python spanning.py FOLDER GENERATIONS PROCESSES NUMBER PORT DEVICES

Goes on from the last checkpoint in FOLDER, and prints the losses and tokens of every generation that it runs.
"""

import json
import sys
from pathlib import Path

import jax

from collapse_jax.runs.processes import Place, join_processes


def joined(processes: int, number: int, port: int, devices: int) -> Place:
    """Meet the others, before anything else: JAX does so only while it has computed nothing."""
    jax.config.update("jax_num_cpu_devices", devices)
    return join_processes(f"127.0.0.1:{port}", processes, number) if processes > 1 else Place()


def run(folder: Path, generations: int, place: Place) -> None:
    """Run the chain from where it is, and tell of it."""
    import jax.numpy as jnp
    from small_language import CONFIG, PRETRAINED, REAL, RULES, TUNING, VALIDATION

    from collapse_jax import as_samples, build_chain, language, replace, run_host, sampled_decoding
    from collapse_jax.drivers.sharding import fully_sharded, model_mesh
    from collapse_jax.metrics.text import diversity_metrics
    from collapse_jax.runs.checkpoints import Checkpoints
    from collapse_jax.runs.orbax_checkpoints import orbax_format

    mesh, tuning = model_mesh(), TUNING._replace(steps_per_piece=1)
    model = language(
        CONFIG, PRETRAINED, REAL, VALIDATION, sampled_decoding(RULES), tuning, prompt_batch=4, mesh=mesh,
        place=fully_sharded,
    )  # fmt: skip
    chain = build_chain(model, replace(), as_samples(jnp.asarray(REAL)), 8, diversity_metrics(24, 8))
    saved = Checkpoints(folder, orbax_format(mesh, place))
    found, damaged = saved.latest("chain")
    resume = None if found is None else (found.generation, found.tree)
    rows = []
    stops = range(1, generations + 1)
    for segment in run_host(chain, jax.random.key(0), 1, stops, resume=resume, in_place=True):
        saved.save("chain", segment.stop, segment.state(), {})
        rows.append({name: values[0].tolist() for name, values in segment.records.items()})
        print("generation", segment.stop, flush=True)
    weights = jax.tree.leaves(segment.state().params.weights)
    told = {
        "damaged": len(damaged),
        "resumed": found and found.generation,
        "rows": rows,
        "weights": [leaf.addressable_shards[0].data.size for leaf in weights],
        "whole": [leaf.size for leaf in weights],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    steps, *where = (int(argument) for argument in sys.argv[2:])
    run(Path(sys.argv[1]), steps, joined(*where))
