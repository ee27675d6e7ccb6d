"""The cgroup below which all containers of the cluster run, in every tree of cgroups that this machine has."""

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def make_cgroup(name: str) -> None:
    """Make a cgroup of a name, at the top of every tree."""
    for tree in _trees():
        group = tree / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of v1, which can then hold no process
            if (group / setting).exists() and not (group / setting).read_text("utf-8").strip():
                (group / setting).write_text((tree / setting).read_text("utf-8"), "utf-8")


def remove_cgroup(name: str) -> bool:
    """Remove a cgroup and all below it, and return whether they are gone: the kernel may not be done with them yet."""
    for tree in _trees():
        top = tree / name
        for group in [*sorted(top.rglob("*/"), reverse=True), top]:
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # busy
                return False
    return True


def _trees() -> list[Path]:
    """Return where groups can be made: the one tree of cgroup v2, or one tree for each controller of v1."""
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if not path.is_symlink()]
