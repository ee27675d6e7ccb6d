"""The test cluster by hand: ``make cluster`` starts one, and from another terminal the rest acts on it.

``PYTHONPATH=tests python -m cluster stop kubelet`` takes a component away, ``start kubelet`` brings it back.
"""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from cluster.binaries import CLIENTS, check_compiler, find_program, has_given_cluster, prepare_programs
from cluster.components import COMPONENTS
from cluster.enclosure import EnclosureError
from cluster.go import BuildError
from cluster.local_cluster import LocalCluster, running_cluster, started_cluster
from grafana_panels import installed_node_project
from promtool import find_prometheus_program


def main() -> None:
    """Do what the command line says."""
    arguments = _parser().parse_args()
    try:
        match arguments.command:
            case "run":
                _run()
            case "check":
                check_compiler()
            case "prepare":
                _prepare()
            case "import":
                _running().import_image(arguments.archive.resolve())
            case "gpus":
                _running().advertise_gpus(arguments.count)
            case "start":
                _running().start_component(arguments.component)
            case "stop":
                _running().stop_component(arguments.component)
            case "reclaim":
                _running().reclaim_volumes()
    except (BuildError, EnclosureError, RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start a cluster; Ctrl-C ends it")
    commands.add_parser("check", help="say at once if what tests need cannot be built here, and build nothing")
    commands.add_parser("prepare", help="build and install the programs that tests need, and start nothing")
    commands.add_parser("import", help="put an image where containers are started from").add_argument(
        "archive", type=Path
    )
    commands.add_parser("gpus", help="have the node offer so many GPUs").add_argument("count", type=int)
    for name, meaning in (("start", "start a component again"), ("stop", "kill a component")):
        commands.add_parser(name, help=meaning).add_argument("component", choices=COMPONENTS)
    commands.add_parser("reclaim", help="give back the volumes whose claims are gone")
    return parser


def _prepare() -> None:
    check_compiler()
    if not has_given_cluster():
        prepare_programs()
        find_program("prometheus")
    for name in CLIENTS:
        find_program(name)
    find_prometheus_program("promtool")
    installed_node_project()


def _run() -> None:
    # Stopped by Ctrl-C or by SIGTERM, in order; whatever else ends this process ends the cluster with it.
    ends = {signal.SIGINT, signal.SIGTERM}
    with started_cluster() as cluster:
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        print(f"export KUBECONFIG={cluster.kubeconfig}")  # noqa: T201 - what this command is for
        print(f"export PATH={find_program('kubectl').parent}:{find_program('helm').parent}:$PATH")  # noqa: T201
        print("Ctrl-C ends the cluster.", file=sys.stderr, flush=True)  # noqa: T201
        sys.stdout.flush()
        signal.sigwait(ends)


def _running() -> LocalCluster:
    cluster = running_cluster()
    if cluster is None:
        raise EnclosureError("no cluster runs on this machine; start one with: make cluster")
    return cluster


if __name__ == "__main__":
    main()
