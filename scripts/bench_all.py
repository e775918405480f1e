"""All benches one after the other: their figures as one table (Markdown, JSON) and as plots (PNG), with what
machine they are of.

Each figure stands beside its goal. Ratios have their peer in the same run, so they say more than seconds; on
a machine that is busy with other things neither says much: the load is told, too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_figures import FILE, Figure, read

BENCHES: Final[dict[str, tuple[str, ...]]] = {
    "script": (),
    "forward": (),
    "log": (),
    "backup": (),
    "cloud": (),
}
SHORT: Final[dict[str, tuple[str, ...]]] = {
    "script": ("--rows", "200000", "--points", "500"),
    "forward": ("--rounds", "5", "--queries", "100", "--megabytes", "20", "--streams", "2"),
    "log": ("--seconds", "2", "--runs", "1", "--megabytes", "64", "--transactions", "2000"),
    "backup": ("--megabytes", "64", "--runs", "1"),
    "cloud": ("--megabytes", "64", "--pairs", "2"),
}
"""For a look at whether all of it runs; the figures mean little."""


def machine() -> dict[str, str]:
    """What the figures are of."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        processor = names[0] if names else processor
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "memory": f"{pages / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "time": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def collect(names: Sequence[str], directory: Path, *, short: bool) -> tuple[list[Figure], dict[str, str]]:
    """The figures, and what became of each bench."""
    noted = directory / "figures.jsonl"
    noted.unlink(missing_ok=True)
    ends: dict[str, str] = {}
    for name in names:
        print(f"--- {name}", flush=True)
        begin = time.monotonic()
        command = [sys.executable, str(Path(__file__).with_name(f"bench_{name}.py"))]
        command += (SHORT if short else BENCHES)[name]
        done = subprocess.run(command, env={**os.environ, FILE: str(noted)}, check=False)
        took = time.monotonic() - begin
        ends[name] = (
            f"{took:.0f} s" if done.returncode == 0 else f"failed ({done.returncode}) after {took:.0f} s"
        )
    return read(noted), ends


def shown(value: float) -> str:
    """With three digits or so."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(figures: Sequence[Figure], facts: dict[str, str], ends: dict[str, str]) -> str:
    """The whole page."""
    lines = ["# Figures of `scripts/bench all`", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [f"- bench {name}: {end}" for name, end in ends.items()]
    lines += ["", "| bench | figure | value | goal | met | |", "|---|---|---:|---:|---|---|"]
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        goal = "" if figure.goal is None else f"{sign} {shown(figure.goal)}"
        met = {None: "", True: "yes", False: "**no**"}[figure.met]
        value = f"{shown(figure.value)} {figure.unit}"
        lines.append(f"| {figure.bench} | {figure.name} | {value} | {goal} | {met} | {figure.detail} |")
    lines += ["", *[f"![{name}]({name}.png)" for name in dict.fromkeys(f.bench for f in figures)], ""]
    return "\n".join(lines)


def plot(figures: Sequence[Figure], directory: Path) -> None:
    """One picture a bench: each figure as a share of its goal, the better the further left of 1."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    for bench in dict.fromkeys(figure.bench for figure in figures):
        chosen = [figure for figure in figures if figure.bench == bench and figure.goal]
        if not chosen:
            continue
        shares = [
            figure.value / figure.goal if figure.at_most else figure.goal / max(figure.value, 1e-9)
            for figure in chosen
            if figure.goal
        ]
        picture, axes = pyplot.subplots(figsize=(9, 0.5 * len(chosen) + 1.4), layout="constrained")
        colours = ["tab:green" if figure.met else "tab:red" for figure in chosen]
        bars = axes.barh([figure.name for figure in chosen], shares, color=colours)
        axes.bar_label(bars, [f"{shown(figure.value)} {figure.unit}" for figure in chosen], padding=4)
        axes.axvline(1.0, color="black", linewidth=1)
        axes.set_xlim(0, max(1.3, max(shares) * 1.25))
        axes.set_xlabel("share of what the goal allows (less is better)")
        axes.set_title(f"scripts/bench {bench}")
        axes.invert_yaxis()
        picture.savefig(directory / f"{bench}.png", dpi=110)
        pyplot.close(picture)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench all", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="the directory that gets table.md and the plots"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(BENCHES), default=tuple(BENCHES))
    parser.add_argument("--short", action="store_true", help="small data: only to see that it runs")
    parser.add_argument(
        "--again", action="store_true", help="table and plots of figures.json, without measuring"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "figures.json"
    if options.again:
        document = json.loads(kept.read_text(encoding="utf-8"))
        facts, ends = document["machine"], document["benches"]
        figures = [Figure(**figure) for figure in document["figures"]]
    else:
        facts = machine()
        figures, ends = collect(options.only, options.out, short=options.short)
        facts["load after"] = ", ".join(f"{load:.1f}" for load in os.getloadavg())
        document = {"machine": facts, "benches": ends, "figures": [asdict(figure) for figure in figures]}
        kept.write_text(json.dumps(document, indent=1), encoding="utf-8")
        (options.out / "figures.jsonl").unlink(missing_ok=True)
    (options.out / "table.md").write_text(table(figures, facts, ends), encoding="utf-8")
    plot(figures, options.out)
    print(table(figures, facts, ends))
    if any(end.startswith("failed") for end in ends.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
