"""Metrics as Prometheus reads them: the text format, version 0.0.4."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Metric:
    """A family: ``kind`` is counter, gauge or histogram. Samples are (suffix of the name, labels, value)."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Mapping[str, str], float]] = field(default_factory=list)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        self.samples.append((suffix, labels, value))

    def plain(self) -> list[Any]:
        """As JSON carries it."""
        return [
            self.name,
            self.kind,
            self.help,
            [[s, dict(labels), value] for s, labels, value in self.samples],
        ]

    @classmethod
    def of(cls, plain: list[Any]) -> Metric:
        name, kind, text, samples = plain
        return cls(name, kind, text, [(suffix, labels, value) for suffix, labels, value in samples])


def exposition(metrics: Iterable[Metric]) -> str:
    """The text of all families, each once."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for suffix, labels, value in metric.samples:
            inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{metric.name}{suffix}{'{' + inner + '}' if inner else ''} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
