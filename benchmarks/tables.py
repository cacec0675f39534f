"""The rows that a benchmark prints, and the files they go to."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

rows: list[dict[str, object]] = []


def note(name: str, value: float, unit: str, against: str = "", target: str = "", holds: bool | None = None) -> None:
    """One row of the table."""
    rows.append(
        {
            "name": name,
            "value": float(value),
            "unit": unit,
            "against": against,
            "target": target,
            "holds": None if holds is None else bool(holds),
        }
    )
    verdict = {None: "", True: "holds", False: "MISSED"}[holds]
    print(f"{name:62} {value:10.4g} {unit:10} {against:34} {target:12} {verdict}", flush=True)


def parser(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--json", type=Path, help="write the rows to this file")
    found.add_argument("--write", type=Path, help="a page with our table, e.g. benchmarks/README.md")
    return found


def machine() -> str:
    """What the numbers were taken on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        model = next((value.strip() for key, value in lines.items() if key.strip() == "model name"), model)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model or platform.machine()}, {os.cpu_count()} cores{load}"


def finish(name: str, arguments: argparse.Namespace, begun_on: str) -> None:
    """Write the rows to the files that were asked for; on a page, between the marks `<!-- name -->`."""
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.write:
        head = ["| what | value | unit | against | target | holds |", "|---|---|---|---|---|---|"]
        said = {None: "", True: "yes", False: "no"}
        table = [
            f"| {r['name']} | {r['value']:.4g} | {r['unit']} | {r['against']} | {r['target']} | {said[r['holds']]} |"
            for r in rows
        ]  # type: ignore[index]
        mark = f"<!-- {name} -->"
        parts = arguments.write.read_text().split(mark)
        if len(parts) != 3:
            raise SystemExit(f"{arguments.write} needs the mark {mark} twice: before and after the table")
        parts[1] = "\n".join(["", f"Machine: {begun_on}.", "", *head, *table, ""])
        arguments.write.write_text(mark.join(parts))
