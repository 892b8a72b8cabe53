"""One study by several processes: the seconds of a whole command, and of what its chains take, for each number."""

import os
import socket
import subprocess
import sys
import tempfile
import time

WHY = """More processes do not help where one already keeps all cores busy: each compiles for itself and waits for
the others. They are for several hosts."""
COLUMNS = ("processes", "seconds, whole command")
_STUDY = ("gmm", "--num-samples", "1000", "--generations", "1000", "--seeds", "128", "--lanes", "16")


def measured() -> list[tuple[int, float]]:
    """Return (processes, seconds)."""
    return [(number, round(_seconds(number), 1)) for number in (1, 2, 4)]


def _seconds(number: int) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "collapse_jax", "run", *_STUDY, "--out", f"{folder}/run"]
        company = ["--coordinator", address, "--num-processes", str(number), "--process-id"]
        began = time.perf_counter()
        running = [
            subprocess.Popen([*command, *([] if number == 1 else [*company, str(place)])],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
            for place in range(number)
        ]  # fmt: skip
        if any(process.wait() for process in running):
            raise RuntimeError(f"a command of {number} processes failed")
        return time.perf_counter() - began
