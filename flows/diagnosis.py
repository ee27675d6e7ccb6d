"""What is said of a pod that does not run, or that ended badly."""

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """What kind of trouble it is. The values may be counted and searched for, so they stay as they are."""

    GPU = "gpu"
    """No node has a GPU left, or the one it had is ill."""
    ROOM = "room"
    """No node has enough CPU, memory or disk left."""
    TAINT = "taint"
    """Nodes keep pods away that do not tolerate their taint."""
    NODE_SELECTION = "node-selection"
    """No node has the labels that the pod asks for."""
    CORDONED = "cordoned"
    """Nodes take no new pods for now."""
    UNSCHEDULABLE = "unschedulable"
    """No node takes the pod, for another reason."""
    VOLUME_UNBOUND = "volume-unbound"
    """A claim has no volume."""
    VOLUME_NODE = "volume-node"
    """A volume can only be used on a node that has no place for the pod."""
    VOLUME_ATTACHED = "volume-attached"
    """A volume is in use on another node, and can only be used on one."""
    VOLUME_MOUNT = "volume-mount"
    """A volume cannot be mounted."""
    QUOTA = "quota"
    """The namespace's quota is used up."""
    REFUSED = "refused"
    """The cluster does not let the Job make its pod: a security standard, a webhook."""
    IMAGE = "image"
    """The image cannot be had."""
    REFERENCE = "reference"
    """The container refers to a Secret or ConfigMap, or a key in one, that is not there."""
    CONTAINER = "container"
    """The container cannot be made or started."""
    MEMORY = "memory"
    """The memory limit of the pod was reached."""
    EVICTED = "evicted"
    """The node took the pod away: it was short of something, or the pod used more than it may."""
    PREEMPTED = "preempted"
    """A pod of higher priority took the place."""
    DISRUPTED = "disrupted"
    """Somebody emptied the node, or the node shut down."""
    NODE_LOST = "node-lost"
    """The node does not answer, or is gone."""
    DEADLINE = "deadline"
    """The attempt took longer than it may."""
    WORKER = "worker"
    """The worker gave up, and said why."""
    STOPPED = "stopped"
    """The worker was told to stop, and did."""
    KILLED = "killed"
    """The worker was ended by a signal."""
    POD = "pod"
    """The pod failed for another reason."""
    JOB = "job"
    """The Job failed, and no pod is left that could say why."""


class Effect(StrEnum):
    """What becomes of it when nobody does anything."""

    WAITS = "waits"
    """It goes on by itself when there is a place."""
    STUCK = "stuck"
    """It stays so until somebody does something. A registry or a disk may also recover by itself."""
    FREE_RETRY = "free-retry"
    """A new pod goes on; the Job does not count this one."""
    COUNTED_RETRY = "counted-retry"
    """A new pod goes on, as long as the Job has retries left."""
    STOPS = "stops"
    """The Job has failed, or will: no other pod is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a pod does not run, or why it ended badly, and what its owner can do about it."""

    category: Category
    effect: Effect
    summary: str
    """A few words for a table, such as ``waiting for nvidia.com/gpu``."""
    problem: str
    """What happened, with the words of whoever said so."""
    remedy: str
    exit_code: int | None = None
    """Of the worker; None if it never started, or if nobody knows."""
