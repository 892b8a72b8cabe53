"""The files of `accelerator.py`: a line of JSON for each row the moment it is there, and a page made anew after it."""

import json
import math
import os
import threading
from pathlib import Path
from typing import Any

from device_rows.order import ORDER

_COLUMNS = ("row", "what", "a second", "of the ceiling", "compile, s", "program, MiB", "best peer", "its rate", "ratio",
            "target")  # fmt: skip


class Written:
    """Rows in a folder; of rows of one name the latest counts.

    Args:
        folder: where `accelerator.jsonl` and `accelerator.md` lie.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines, self.page = folder / "accelerator.jsonl", folder / "accelerator.md"
        self.head: list[str] = []
        self._lock = threading.Lock()

    def append(self, record: dict[str, Any]) -> None:
        """Write a row down, durably, and the page with it."""
        has_lock = self._lock.acquire(timeout=2)  # whoever ends the process waits for nobody
        try:
            with self.lines.open("ab+") as file:
                if file.tell():  # a line that was cut off stays alone
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        file.write(b"\n")
                file.write((json.dumps(_plain(record)) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
            part = self.page.with_suffix(".part")
            part.write_text(page(self.rows(), self.head), encoding="utf-8")
            part.replace(self.page)
        finally:
            if has_lock:
                self._lock.release()

    def rows(self) -> dict[str, dict]:
        """Return the rows by name, the latest of each, in the plan's order; a line that was cut off is left out."""
        found: dict[str, dict] = {}
        for record in _records(self.lines):
            name, planned = record["name"], record["row"]
            if not _has_result(record):
                if record.get("skipped") and any(_has_result(r) for r in found.values() if r["row"] == planned):
                    continue  # what was measured before stays
            elif planned in found and not _has_result(found[planned]):
                del found[planned]
            found[name] = record
        places = {planned.name: index for index, planned in enumerate(ORDER)}
        return dict(sorted(found.items(), key=lambda item: places.get(item[1]["row"], len(places))))


def _records(path: Path) -> list[dict]:
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("name"), str) and isinstance(record.get("row"), str):
            found.append(record)
    return found


def _has_result(record: dict) -> bool:
    return not record.get("error") and not record.get("skipped")


def _plain(value: Any) -> Any:
    """Return what JSON has: numbers that are not finite are left out, NumPy's are Python's."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def page(rows: dict[str, dict], head: list[str]) -> str:
    """Return the page: what ran where, the table, what else is to be known, targets, and what is missing."""
    measured = {name: row for name, row in rows.items() if _has_result(row)}
    missing = {name: row for name, row in rows.items() if name not in measured}
    parts = ["# On an accelerator\n", "\n".join(f"- {line}" for line in head), ""]
    parts += [f"| {' | '.join(_COLUMNS)} |", f"{'|---' * len(_COLUMNS)}|"]
    parts += [f"| {' | '.join(_cells(name, row))} |" for name, row in measured.items() if row.get("rate")]
    parts += ["", *_lines("Notes", {name: _note(row) for name, row in measured.items()})]
    for title, met in (("Targets met", True), ("Targets missed", False)):
        parts += _lines(title, {n: r["target"] for n, r in measured.items() if r.get("target") and r.get("met") is met})
    unsaid = {n: r["target"] for n, r in measured.items() if r.get("target") and r.get("met") is None}
    parts += _lines("Targets that nothing was there to compare with", unsaid)
    parts += _lines("Skipped", {n: r["skipped"] for n, r in missing.items() if r.get("skipped")})
    parts += _lines("Failed", {n: r["error"] for n, r in missing.items() if r.get("error")})
    return "\n".join(parts) + "\n"


def _lines(title: str, told: dict[str, str]) -> list[str]:
    said = [f"- {name}: {text}" for name, text in told.items() if text]
    return [f"## {title}\n", *said, ""] if said else []


def _note(row: dict) -> str:
    return f"{row['work']}: {row['note']}" if row.get("note") else ""


def _cells(name: str, row: dict) -> list[str]:
    peer = row.get("peer_rate")
    share = row.get("share")
    met = {True: " met", False: " missed", None: ""}[row.get("met")]
    return [
        name,
        row["work"].replace("|", "/"),
        f"{row['rate']:.3g} {row['unit']}",
        "-" if share is None else f"{share:.1%} of {row['ceiling']}",
        _number(row.get("compile"), ".1f"),
        _number(row.get("program_mib"), ",.0f"),
        row.get("peer") or "-",
        _number(peer, ".3g"),
        "-" if not peer else f"{row['rate'] / peer:.3g}x",
        f"{row['target']}{met}" if row.get("target") else "-",
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
