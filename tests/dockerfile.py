"""Reads the Dockerfile into stages, so that rules about it can be stated."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its continued lines joined."""

    word: str
    value: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it stands on, its name, and its instructions."""

    below: str
    name: str
    instructions: tuple[Instruction, ...]

    def values(self, word: str) -> list[str]:
        """Return what stands after an instruction, each time it is used."""
        return [instruction.value for instruction in self.instructions if instruction.word == word]

    @property
    def installed_extras(self) -> list[str]:
        """Return the project's extras that a stage installs."""
        [run] = [run for run in self.values("RUN") if "install-packages" in run]
        return run.rpartition("install-packages ")[2].split()


def read_instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        Instruction(word, value.strip()) for word, _, value in (line.partition(" ") for line in joined.splitlines())
    ]


def read_stages(path: Path = ROOT / "Dockerfile") -> dict[str, Stage]:
    """Return the stages by name, in their order."""
    stages: list[tuple[str, list[Instruction]]] = []
    for instruction in read_instructions(path.read_text("utf-8")):
        if instruction.word == "FROM":
            stages.append((instruction.value, []))
        elif stages:
            stages[-1][1].append(instruction)
    named = (re.fullmatch(r"(\S+) AS (\S+)", opening) for opening, _ in stages)
    found = [
        Stage(match[1], match[2], tuple(body))
        for match, (_, body) in zip(named, stages, strict=True)
        if match is not None
    ]
    return {stage.name: stage for stage in found}
