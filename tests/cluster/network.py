"""Addresses of the test cluster, and the cable between it and the machine.

Everything lies in one private block, which the machine reaches through the node.
So tests open pods and services by their addresses, pods reach servers that tests run at ``HOST``, and nothing else.
"""

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

from cluster.enclosure import Enclosure, EnclosureError

BLOCK = ipaddress.ip_network("172.30.0.0/16")
HOST = "172.30.0.1"
"""The machine, as the cluster sees it."""

NODE = "172.30.0.2"
LINK_BITS = 30
PODS = ipaddress.ip_network("172.30.64.0/18")
SERVICES = ipaddress.ip_network("172.30.128.0/18")

CABLE = "freeze-bench"
"""The machine's end of the cable. It vanishes with the other end, when the enclosure does."""

CNI_BINARIES = "/usr/lib/cni"


def connect(enclosure: Enclosure) -> None:
    """Lay the cable, and have the node pass on what is meant for pods and services.

    Raises:
        EnclosureError: The machine has another use for the addresses.
    """
    if taken := _overlapping_routes():
        raise EnclosureError(f"the test cluster needs {BLOCK}, and this machine routes {', '.join(taken)} elsewhere")
    _ip("link", "add", CABLE, "type", "veth", "peer", "name", "eth0", "netns", str(enclosure.pid))
    _ip("address", "add", f"{HOST}/{LINK_BITS}", "dev", CABLE)
    _ip("link", "set", CABLE, "up")
    enclosure.run("ip", "link", "set", "lo", "up")
    enclosure.run("ip", "address", "add", f"{NODE}/{LINK_BITS}", "dev", "eth0")
    enclosure.run("ip", "link", "set", "eth0", "up")
    enclosure.run("ip", "route", "add", "default", "via", HOST)
    enclosure.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _ip("route", "add", str(BLOCK), "via", NODE)


def write_pod_network(folder: Path) -> None:
    """Tell containerd how pods are connected: each by a cable to the node, which routes.

    Not by a bridge, the common choice: there, answers from pod to pod pass by the rules that services are made of,
    unless the kernel has a module for that.
    """
    address_management = {"type": "host-local", "ranges": [[{"subnet": str(PODS)}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": address_management},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    folder.mkdir(parents=True)
    network = {"cniVersion": "0.4.0", "name": "freeze-bench", "plugins": plugins}
    (folder / "10-pods.conflist").write_text(json.dumps(network), "utf-8")


def _overlapping_routes() -> list[str]:
    routes: list[dict[str, Any]] = json.loads(_ip("-json", "-4", "route", "show"))
    others = [route["dst"] for route in routes if route["dst"] != "default" and route.get("dev") != CABLE]
    return [route for route in others if ipaddress.ip_network(route, strict=False).overlaps(BLOCK)]


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnclosureError(f"ip {' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout
