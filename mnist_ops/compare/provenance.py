"""Where and when the runs behind the tables were made, and with what."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mnist_ops.compare.runs import (
    END_TIME,
    GIT_COMMIT,
    HARDWARE_PREFIX,
    INSTRUCTION_SET,
    START_TIME,
    VERSION_PREFIX,
)

# What a tag says where there is nothing to say.
_NONE = ("", "none", "none used", "unknown")


@dataclass(frozen=True)
class Machine:
    """A machine that runs were made on.

    Attributes:
        parts: what the hardware tags say: ``cpu``, ``cores``, ``memory``, ``gpu`` and others.
        runs: how many of the runs were made there.
    """

    parts: Mapping[str, str]
    runs: int

    @property
    def text(self) -> str:
        """Return the machine in one line, without empty parts."""
        written = dict(self.parts)
        cores = written.pop("cores", "")
        words = [written.pop("cpu", ""), f"{cores} cores" if cores else "", *written.values()]
        return ", ".join(word for word in words if word) or "a machine without hardware tags"


@dataclass(frozen=True)
class Provenance:
    """What the tags of the runs tell.

    Attributes:
        machines: most runs first.
        instruction_sets: of CPUs -> how many of the runs were computed with it, most first. Bits
            are the same within one only.
        versions: library -> versions, sorted.
        commits: git commits of the code, sorted.
        first: day and minute of the first start, UTC; empty where no run tells.
        last: of the last end, likewise.
    """

    machines: tuple[Machine, ...]
    instruction_sets: Mapping[str, int]
    versions: Mapping[str, tuple[str, ...]]
    commits: tuple[str, ...]
    first: str
    last: str

    @property
    def mix(self) -> str:
        """Say that the runs were computed with several instruction sets; empty if with one."""
        if len(self.instruction_sets) < 2:
            return ""
        counts = " and ".join(
            f"{name} ({count} run{'' if count == 1 else 's'})"
            for name, count in self.instruction_sets.items()
        )
        return (
            f"The networks were computed with {counts}: rounding differs between instruction "
            "sets, and with it a training."
        )


def provenance(runs: pd.DataFrame) -> Provenance:
    """Read the tags and times of `runs`, columns as of `runs.typed`."""
    hardware = [name for name in runs.columns if name.startswith(HARDWARE_PREFIX)]
    rows = [tuple(row) for row in runs[hardware].fillna("").itertuples(index=False)]
    counts = {row: rows.count(row) for row in sorted(set(rows))}
    machines = [
        Machine(
            {
                name.removeprefix(HARDWARE_PREFIX): text
                for name, text in zip(hardware, row, strict=True)
                if text not in _NONE
            },
            count,
        )
        for row, count in sorted(counts.items(), key=lambda item: -item[1])
    ]
    versions = {
        name.removeprefix(VERSION_PREFIX).replace("_", "-"): _distinct(runs[name])
        for name in runs.columns
        if name.startswith(VERSION_PREFIX)
    }
    return Provenance(
        machines=tuple(machines),
        instruction_sets={
            str(name): int(count) for name, count in runs[INSTRUCTION_SET].value_counts().items()
        },
        versions={name: texts for name, texts in versions.items() if texts},
        commits=_distinct(runs[GIT_COMMIT]),
        first=_minute(runs[START_TIME].min()),
        last=_minute(runs[END_TIME].max()),
    )


def _distinct(column: "pd.Series") -> tuple[str, ...]:
    return tuple(sorted({str(text) for text in column.dropna() if text not in _NONE}))


def _minute(time: pd.Timestamp) -> str:
    return "" if pd.isna(time) else f"{time:%Y-%m-%d %H:%M} UTC"
