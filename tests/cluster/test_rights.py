"""What the runner may do is what it needs: each right has a use that fails without it, and there is no other right."""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from kubernetes import client, config

from cluster.busybox_pods import build_job
from cluster.enclosure import wait_until
from cluster.helm import CHART, Helm
from cluster.kubectl import Document, Kubectl
from flows.cluster import Cluster, ClusterError

pytestmark = pytest.mark.system

NAME = "freeze-bench"
RUNNER = f"{NAME}-runner"
WORKER = f"{NAME}-worker"
SELECTOR = "freeze-bench/comparison=nothing"
NOBODY = {"metadata": {"name": "nobody", "uid": "none"}}

TEMPLATES = (
    "runner/role",
    "runner/cluster-role",
    "runner/service-account",
    "worker/service-account",
    "worker/config-map",
)
"""Where the chart says who may do what, and what the runner reads."""

WATCH_SECONDS = 3

Right = tuple[str, str]
"""Verb and kind."""

USES: dict[Right, Callable[[Cluster], object]] = {
    ("create", "jobs"): lambda cluster: cluster.create_job(suspended_job()),
    ("get", "jobs"): lambda cluster: cluster.read_job("nobody"),
    ("list", "jobs"): lambda cluster: cluster.list_jobs(SELECTOR),
    ("delete", "jobs"): lambda cluster: cluster.delete_job(NOBODY),
    ("deletecollection", "jobs"): lambda cluster: cluster.delete_jobs(SELECTOR),
    ("list", "pods"): lambda cluster: cluster.list_pods(SELECTOR),
    ("list", "events"): lambda cluster: cluster.list_warnings(),
    ("list", "resourcequotas"): lambda cluster: cluster.list_resource_quotas(),
    ("get", "configmaps"): lambda cluster: cluster.read_config_map(WORKER),
}
"""What needs each right of the Role, and says so without it. A watch fails in silence, and has a test of its own."""

RIGHTS = {*USES, ("watch", "jobs"), ("list", "nodes")}

FORBIDDEN = (
    "get secrets",
    "list secrets",
    "create pods",
    "delete pods",
    "create pods --subresource=exec",
    "get pods --subresource=log",
    "update jobs",
    "patch jobs",
    "update jobs --subresource=status",
    "list configmaps",
    "get configmaps/another",
    f"update configmaps/{WORKER}",
    "create serviceaccounts --subresource=token",
    "impersonate serviceaccounts",
    "create rolebindings",
    "escalate roles",
    "bind roles",
    "get nodes",
    "patch nodes",
    "get nodes --subresource=proxy",
    "delete persistentvolumeclaims",
    "list jobs --namespace=kube-system",
    "create jobs --namespace=kube-system",
)
"""Verb and kind, as ``kubectl auth can-i`` takes them."""

AccountWith = Callable[[list[Document]], Cluster]


def suspended_job() -> Document:
    """A Job that never makes a pod."""
    job = build_job(f"made-{time.monotonic_ns()}", "true")
    job["spec"]["suspend"] = True
    return job


@pytest.fixture(scope="module")
def rights(module_namespace: Kubectl) -> Iterator[Kubectl]:
    """A namespace with what the chart says about rights, and nothing that runs."""
    shown = [f"--show-only=templates/{name}.yaml" for name in TEMPLATES]
    rendered = Helm(module_namespace).run("template", NAME, str(CHART), *shown).stdout
    module_namespace.run("apply", "--filename=-", given=rendered)
    yield module_namespace
    module_namespace.run("delete", "--filename=-", "--ignore-not-found", given=rendered)


@pytest.fixture(scope="module")
def rules(rights: Kubectl) -> list[Document]:
    """The rules of the runner's Role."""
    role = rights.get("role", RUNNER)
    assert role
    return list(role["rules"])


@pytest.fixture(scope="module")
def runner(rights: Kubectl) -> Cluster:
    """The cluster as the runner sees it."""
    return connect(rights, RUNNER)


@pytest.fixture
def account_with(rights: Kubectl) -> AccountWith:
    """The cluster as an account with certain rules sees it."""

    def make(some_rules: list[Document]) -> Cluster:
        name = f"probe-{time.monotonic_ns()}"
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": rights.namespace}
        rights.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}, "rules": some_rules},
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [subject],
            },
        )
        expected = len(rights_in(some_rules))
        wait_until(lambda: len(rights_of(rights, name)) == expected, f"{name} to have its rights")
        return connect(rights, name)

    return make


def connect(kubectl: Kubectl, account: str) -> Cluster:
    """Return the cluster as a service account sees it."""
    settings = client.Configuration()
    config.load_kube_config(config_file=str(kubectl.kubeconfig), client_configuration=settings)
    token = kubectl.run("create", "token", account).stdout.strip()
    settings.cert_file = settings.key_file = settings.refresh_api_key_hook = None
    settings.api_key = {"BearerToken": f"Bearer {token}"}
    return Cluster(client.ApiClient(settings), kubectl.namespace, patience_seconds=0)


def user(kubectl: Kubectl, account: str) -> str:
    """Return the option by which the administrator asks in the name of a service account."""
    return f"--as=system:serviceaccount:{kubectl.namespace}:{account}"


def rights_of(kubectl: Kubectl, account: str) -> set[Right]:
    """Return what an account may do in its namespace beyond what every account may."""
    return _read_rights(kubectl, account) - _read_rights(kubectl, "default")


def _read_rights(kubectl: Kubectl, account: str) -> set[Right]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": kubectl.namespace},
    }
    options = ("--filename=-", "--output=json", "--validate=false", user(kubectl, account))
    answer = kubectl.run("create", *options, given=json.dumps(review)).stdout
    return rights_in(json.loads(answer)["status"]["resourceRules"])


def rights_in(rules: list[Document]) -> set[Right]:
    return {(verb, kind) for rule in rules for kind in rule["resources"] for verb in rule["verbs"]}


def without(rules: list[Document], right: Right) -> list[Document]:
    """Return the same rules without one verb for one kind."""
    kept = []
    for rule in rules:
        for kind in rule["resources"]:
            verbs = [verb for verb in rule["verbs"] if (verb, kind) != right]
            if verbs:
                kept.append({**rule, "resources": [kind], "verbs": verbs})
    return kept


def seconds_until_change(cluster: Cluster) -> float:
    """Return how long a wait for a change takes where nothing changes."""
    version = cluster.list_jobs(SELECTOR).version
    begun_at = time.monotonic()
    cluster.wait_for_change(SELECTOR, version, WATCH_SECONDS)
    return time.monotonic() - begun_at


def test_the_runner_has_the_rights_that_have_a_use_and_no_other(rights: Kubectl) -> None:
    assert rights_of(rights, RUNNER) == RIGHTS


def test_workers_have_no_rights(rights: Kubectl) -> None:
    assert rights_of(rights, WORKER) == set()


@pytest.mark.parametrize(("verb", "kind"), sorted(RIGHTS))
def test_the_runner_may(verb: str, kind: str, rights: Kubectl) -> None:
    name = f"{kind}/{WORKER}" if kind == "configmaps" else kind

    assert rights.run("auth", "can-i", verb, name, user(rights, RUNNER), check=False).stdout.strip() == "yes"


@pytest.mark.parametrize("words", FORBIDDEN)
def test_the_runner_may_not(words: str, rights: Kubectl) -> None:
    answer = rights.run("auth", "can-i", *words.split(), user(rights, RUNNER), check=False)

    assert answer.stdout.strip() == "no"


@pytest.mark.parametrize(("verb", "kind"), USES)
def test_without_one_of_its_rights_the_runner_says_what_it_cannot_do(
    verb: str, kind: str, runner: Cluster, rules: list[Document], account_with: AccountWith
) -> None:
    use = USES[verb, kind]
    use(runner)
    limited = account_with(without(rules, (verb, kind)))

    with pytest.raises(ClusterError, match="does not let freeze-bench") as refused:
        use(limited)

    assert refused.value.status == 403
    assert "rbac.create" in refused.value.remedy


def test_without_the_right_to_watch_the_runner_cannot_wait_for_a_change(
    runner: Cluster, rules: list[Document], account_with: AccountWith
) -> None:
    limited = account_with(without(rules, ("watch", "jobs")))

    assert seconds_until_change(runner) >= WATCH_SECONDS - 0.5
    assert seconds_until_change(limited) < WATCH_SECONDS - 0.5


def test_nodes_are_listed_by_a_right_that_the_role_does_not_give(
    runner: Cluster, rules: list[Document], account_with: AccountWith
) -> None:
    assert runner.list_nodes()

    with pytest.raises(ClusterError) as refused:
        account_with(rules).list_nodes()

    assert refused.value.status == 403
