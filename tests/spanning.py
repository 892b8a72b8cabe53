"""One language model whose weights lie in parts on the devices of several processes; started by `test_spanning`.

    python spanning.py FOLDER GENERATIONS PROCESSES NUMBER PORT DEVICES

Goes on from the last checkpoint in FOLDER, and prints the losses and tokens of every generation that it runs.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

folder = Path(sys.argv[1])
generations, processes, number, port, devices = (int(argument) for argument in sys.argv[2:])
jax.config.update("jax_num_cpu_devices", devices)

from collapse_jax.processes import Place, join_processes  # noqa: E402

# before anything else: JAX joins others only while it has computed nothing
place = join_processes(f"127.0.0.1:{port}", processes, number) if processes > 1 else Place()

from test_language import CONFIG, PRETRAINED, REAL, RULES, TUNING, VALIDATION  # noqa: E402

from collapse_jax import as_samples, build_chain, by_sampling, language, replace, run_host  # noqa: E402
from collapse_jax.checkpoints import Checkpoints  # noqa: E402
from collapse_jax.models.text_metrics import diversity_metrics  # noqa: E402
from collapse_jax.orbax_checkpoints import orbax_format  # noqa: E402
from collapse_jax.sharding import fully_sharded, model_mesh  # noqa: E402


def main() -> None:
    mesh = model_mesh()
    tuning = TUNING._replace(steps_per_piece=1)
    model = language(
        CONFIG,
        PRETRAINED,
        REAL,
        VALIDATION,
        by_sampling(RULES),
        tuning,
        prompt_batch=4,
        mesh=mesh,
        place=fully_sharded,
    )
    chain = build_chain(model, replace(), as_samples(jnp.asarray(REAL)), 8, diversity_metrics(24, 8))
    saved = Checkpoints(folder, orbax_format(mesh, place))
    found, damaged = saved.latest("chain")
    stops = range(1, generations + 1)
    resume = None if found is None else (found.generation, found.tree)
    told = {"damaged": len(damaged), "resumed": found and found.generation, "rows": []}
    for segment in run_host(chain, jax.random.key(0), 1, stops, resume=resume, in_place=True):
        saved.save("chain", segment.stop, segment.state(), {})
        records = {name: values[0].tolist() for name, values in segment.records.items()}
        told["rows"].append(records)
        print("generation", segment.stop, flush=True)
    told["weights"] = [
        leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(segment.state().params.weights)
    ]
    told["whole"] = [leaf.size for leaf in jax.tree.leaves(segment.state().params.weights)]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
