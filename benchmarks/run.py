"""Run the benchmarks and write RESULTS.md beside this file.

    make bench            all
    make bench ARGS=gmm   some: gaussian, gmm, vae, diffusion, opt, counts, processes, opt_memory, memory, million, web,
                          watch
    make bench ARGS="gmm --rows"     the table alone; curves and memory stay as they are
    make bench ARGS="gmm --curves"   the curves and memory alone

A part that is not run keeps its rows from the last run. Peers come from the optional extra `peers`.
"""

import importlib
import json
import sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", max(__import__("os").cpu_count() or 1, 1))

from harness import Row, machine, table  # noqa: E402
from rich.console import Console  # noqa: E402

from collapse_jax import plots  # noqa: E402
from collapse_jax.validation import nearest  # noqa: E402

HERE = Path(__file__).parent
_UNIT = "us / chain-generation"  # of curves, where a part has no UNIT of its own
_COLUMNS = ("generations", "peak memory, MiB")  # of what is measured, where a part has no COLUMNS of its own
PARTS = (
    "gaussian", "gmm", "vae", "diffusion", "opt", "counts", "processes", "opt_memory", "memory", "million", "web",
    "watch",
)  # fmt: skip
_HEAD = """# Benchmarks

Written by `make bench`. Each row times our code and its peers in the same run, in turn: medians of at least five warm
runs (three where one takes many seconds), compile time apart. The peer is the quickest of what a good user of the
other library would write; what else was tried stands below the table. A ratio is the figure to look at; absolute times
are the machine's. "Noisy": the middle half of a side's runs spreads by more than 20 % of their median.
"""


def main(chosen: list[str]) -> None:
    """Run `chosen` parts, all by default, and write the results."""
    only = {"--rows", "--curves"} & set(chosen)
    chosen = [name for name in chosen if name not in only]
    for name in chosen:
        if name not in PARTS:
            sys.exit(f"there is no benchmark '{name}'; {nearest(name, PARTS)}")
    console, store = Console(), HERE / "results.json"
    results = json.loads(store.read_text()) if store.is_file() else {}
    for name in chosen or PARTS:
        module = importlib.import_module(name)
        with console.status(f"{name} ..."):
            kept = results.get(name, {}) if only else {}
            found = {**kept, "machine": machine()}
            if "--curves" in only:
                found |= {"machine": kept.get("machine", machine()), "rows": kept.get("rows", [])}
            else:
                found["rows"] = [_told(console, row) for row in getattr(module, "rows", tuple)()]
            if hasattr(module, "curves") and "--rows" not in only:
                curves = {"curves": module.curves(), "unit": getattr(module, "UNIT", _UNIT)}
                found |= {**curves, "curves_machine": machine(), "why": getattr(module, "WHY", "")}
            if hasattr(module, "measured") and "--rows" not in only:
                columns = getattr(module, "COLUMNS", _COLUMNS)
                found |= {"measured": module.measured(), "columns": columns, "why": getattr(module, "WHY", "")}
            results[name] = found
        store.write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "RESULTS.md").write_text(page(results))
    console.print(f"written: {HERE / 'RESULTS.md'}")


def _told(console: Console, row: Row) -> Row:
    """Return a row, once it is on the screen."""
    ratio = "" if row.ratio is None else f", {row.ratio:,.1f}x {row.peer_name}"
    console.print(f"{row.work}: {row.ours:.3g} {row.unit}{ratio}")
    return row


def page(results: dict) -> str:
    """Return RESULTS.md, and draw the curves."""
    parts = [_HEAD]
    for name, found in results.items():
        parts.append(f"\n## {name}\n\n{found['machine']}\n\n")
        if found["rows"]:
            parts.append(table([Row(*row) for row in found["rows"]]) + "\n")
        if "curves" in found:
            draw(name, found["curves"], found.get("unit", _UNIT))
            if found.get("curves_machine", found["machine"]) != found["machine"]:
                parts.append(f"\nCurves: {found['curves_machine']}\n")
            parts.append(f"\n![cost against {', '.join(found['curves'])}]({name}.png)\n")
        if "measured" in found:
            columns = found.get("columns", _COLUMNS)
            parts.append(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n")
            for cells in found["measured"]:
                said = [f"{cell:,}" if isinstance(cell, int | float) else cell for cell in cells]
                parts.append(f"| {' | '.join(said)} |\n")
        if found.get("why"):
            parts.append(f"\n{found['why']}\n")
    return "".join(parts)


def draw(name: str, curves: dict, unit: str) -> None:
    """Write `name`.png: one panel for each curve; costs are in `unit`."""
    figure, axes = plots.new_figure(1, len(curves), width=9.0, height=2.8)
    for panel, (title, lines) in zip(axes[0], curves.items()):
        if panel is not axes[0, 0]:  # costs of all panels on one scale
            panel.sharey(axes[0, 0])
        for (label, points), colour in zip(lines.items(), plots.COLOURS):
            panel.plot(*zip(*points), "o-", color=colour, label=label, markersize=4)
        panel.set(xscale="log", yscale="log", xlabel=title)
        panel.tick_params(which="minor", labelbottom=False)
        places = sorted({x for points in lines.values() for x, _ in points})
        if len(places) <= 5:  # else the decades say enough
            panel.set_xticks(places, [f"{x:,}" for x in places])
    axes[0, 0].set_ylabel(unit)
    plots.legend(axes[0, 0])
    plots.save_figure(figure, HERE, name)
    (HERE / f"{name}.svg").unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
