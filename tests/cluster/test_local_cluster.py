"""The ground that other tests stand on: the machine's own cluster does what a cluster does."""

import urllib.request

import pytest

from cluster.busybox_pods import build_claim, build_job, build_pod, build_service, mounted
from cluster.kubectl import Document, Kubectl, is_true
from cluster.local_cluster import GPU, NUM_GPUS, LocalCluster

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("local_cluster")]

SLEEP = "exec sleep 600"


def output_of(namespace: Kubectl, job: Document) -> str:
    """Run a Job to its good end, and return what it has printed."""
    namespace.apply(job)
    name = job["metadata"]["name"]
    namespace.wait_for("job", name, lambda found: is_true(found, "Complete"))
    return namespace.logs(f"job/{name}")


def is_running(pod: Document) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def test_a_job_runs_as_the_user_of_its_image(namespace: Kubectl) -> None:
    assert output_of(namespace, build_job("hello", "id -u")) == "65532\n"


def test_what_asks_for_a_gpu_waits_until_one_is_free(namespace: Kubectl) -> None:
    asking = {"resources": {"limits": {GPU: "1"}}}
    for number in range(NUM_GPUS):
        namespace.apply(build_pod(f"pod-{number}", SLEEP, container=asking))
        namespace.wait_for("pod", f"pod-{number}", is_running)

    namespace.apply(build_pod("late", SLEEP, container=asking))
    namespace.wait_for("pod", "late", lambda pod: f"Insufficient {GPU}" in str(pod["status"].get("conditions")))
    namespace.delete("pod", "pod-0")

    namespace.wait_for("pod", "late", is_running)


def test_a_service_is_reached_by_name_from_pods_and_by_address_from_the_machine(namespace: Kubectl) -> None:
    serve = "echo here > /www/index.html && exec httpd -f -p 8080 -h /www"
    folder = {"container": {"volumeMounts": [{"name": "www", "mountPath": "/www"}]}}
    namespace.apply(
        build_pod("web", serve, volumes=[{"name": "www", "emptyDir": {}}], **folder), build_service("web", 8080)
    )
    namespace.wait_for("pod", "web", is_running)
    address = namespace.wait_for("service", "web", lambda service: "clusterIP" in service["spec"])["spec"]["clusterIP"]
    namespace.wait_for("endpoints", "web", lambda endpoints: bool(endpoints.get("subsets")))

    ask = "until wget -q -O - http://web:8080/index.html; do sleep 0.2; done"
    assert output_of(namespace, build_job("ask", ask)) == "here\n"
    with urllib.request.urlopen(f"http://{address}:8080/index.html", timeout=10) as answer:
        assert answer.read() == b"here\n"


def test_a_claim_gets_a_volume_that_pods_share_and_any_user_can_write_to(namespace: Kubectl) -> None:
    namespace.apply(build_claim("results"))

    output_of(namespace, build_job("write", "touch /results/mark", **mounted("results", "/results")))

    assert output_of(namespace, build_job("read", "ls /results", **mounted("results", "/results"))) == "mark\n"


def test_a_volume_is_empty_when_it_is_claimed_again(local_cluster: LocalCluster, namespace: Kubectl) -> None:
    namespace.apply(build_claim("first"))
    output_of(namespace, build_job("write", "touch /results/mark", **mounted("first", "/results")))
    volume = namespace.wait_for("pvc", "first", lambda claim: "volumeName" in claim["spec"])["spec"]["volumeName"]
    namespace.delete("job", "write")
    namespace.delete("pvc", "first")

    local_cluster.reclaim_volumes()

    namespace.wait_for("pv", volume, lambda found: bool(found["status"]["phase"] == "Available"))
    again = build_claim("again")
    again["spec"]["volumeName"] = volume
    namespace.apply(again)
    assert output_of(namespace, build_job("read", "ls /results", **mounted("again", "/results"))) == ""


def test_a_small_volume_is_soon_full(local_cluster: LocalCluster, namespace: Kubectl) -> None:
    storage_class = local_cluster.make_small_volume("small", 64 * 1024)
    namespace.apply(build_claim("small", storage_class))
    fill = "head -c 100000 /dev/zero > /results/big || ls -s /results"

    printed = output_of(namespace, build_job("fill", f"{fill} 2>&1", **mounted("small", "/results")))

    assert "64 big" in printed


def test_a_test_namespace_refuses_pods_with_privileges(namespace: Kubectl) -> None:
    root = build_pod("root", "id", container={"securityContext": {"runAsUser": 0}})

    refused = namespace.create(root)

    assert 'violates PodSecurity "restricted' in refused.stderr
    assert namespace.list("pods") == []
