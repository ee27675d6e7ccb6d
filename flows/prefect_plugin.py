"""Prefect plugin: lets ``prefect deployment run compare-backbones`` name the deployment without its flow.

Prefect knows a deployment as ``<flow>/<deployment>`` only, and refuses a bare name before it asks the server. Ours has
one name for both. Prefect loads this module wherever plugins are enabled and ``prefect`` is imported, so it must load
nothing and change nothing but the words of that one command.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePath

from prefect.plugins import HookContext, register_hook

NAME = "compare-backbones"
"""Of the flow, and of its deployment."""

_COMMANDS = (("deployment", "run"), ("deployments", "run"))
_FLAGS = ("--watch", "--no-watch")
"""Options of ``prefect deployment run`` that take no value. Source: prefect 3.8.8, prefect.cli.deployment.run."""


@register_hook
def setup_environment(*, ctx: HookContext) -> None:  # noqa: ARG001 - the name is the hook's
    """Write the deployment's full name where the command line of Prefect has the bare one."""
    if _is_prefect(sys.argv, sys.orig_argv):
        sys.argv[1:] = with_full_name(sys.argv[1:])


def with_full_name(words: Sequence[str]) -> list[str]:
    """Return the words of a ``prefect`` command with the deployment's full name, if the command is to run it.

    Only the word that names the deployment is changed: not the value of an option, nor any other command.
    """
    changed = list(words)
    for start, command in enumerate(pairwise(words)):
        if command in _COMMANDS:
            for index in range(start + len(command), len(words)):
                if words[index] == NAME and not _takes_value(words[index - 1]):
                    changed[index] = f"{NAME}/{NAME}"
            break
    return changed


def _takes_value(word: str) -> bool:
    return word.startswith("-") and "=" not in word and word not in _FLAGS


def _is_prefect(argv: list[str], original: list[str]) -> bool:
    """Whether this process is Prefect's command: its script, or ``python -m prefect``."""
    if argv[:1] == ["-m"]:  # what Python says while it imports the package of the module that it will run
        return original[-len(argv)] == "prefect"
    return bool(argv) and PurePath(argv[0]).name == "prefect"
