"""Secrets stay where they belong, and names lead nowhere else: a whole comparison on S3, with canaries for secrets."""

import base64
import http.client
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.session import Session  # type: ignore[import-untyped]

from cluster.busybox_pods import build_pod, mounted
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import LocalCluster
from cluster.network import HOST
from cluster.release import Release, reached

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(1800)]

NAME = "freeze-bench"
BUCKET = "results"

OBJECTS = (
    "deployments,replicasets,pods,jobs,services,endpoints,configmaps,serviceaccounts,roles,rolebindings,pvc,events"
)
"""Everything that a release leaves in its namespace, but Secrets."""

TMP = "/tmp"  # noqa: S108 - of a pod, which alone writes there

SEARCH = """
import json, os, sys
forms = [(name, bytes.fromhex(form)) for name, forms in json.load(sys.stdin).items() for form in forms]
found = set()
for root in sys.argv[1:]:
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.isfile(path):
                content = open(path, "rb").read()
                found |= {(name, path) for name, form in forms if form in content}
print(json.dumps(sorted(found)))
"""

ESCAPE = """
name = "../../../escape"
seeds = [0]

[data]
source = "builtin:language-names"
train_examples = 64
validation_examples = 16
test_examples = 16

[training]
steps = 10

[[arms]]
label = "../../../cache/arm"
backbone = "tiny:qwen3"
mode = "frozen"
"""


class Bucket:
    """S3 as the release reaches it: moto's, at the machine's address on the cluster's network."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        self._client: Any = Session().create_client("s3", "us-east-1", endpoint_url=self.url, **keys)
        self._client.create_bucket(Bucket=BUCKET)

    def names(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        return bytes(self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read())


@pytest.fixture(scope="module")
def bucket(local_cluster: LocalCluster) -> Iterator[Bucket]:
    assert local_cluster.kubeconfig.exists()
    program = (
        "import sys; from moto.server import ThreadedMotoServer; "
        f"server = ThreadedMotoServer({HOST!r}, 0, verbose=False); server.start(); "
        "print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        yield Bucket(int(process.stdout.readline()))
        process.kill()


@pytest.fixture(scope="module")
def canaries() -> dict[str, str]:
    """Secrets that stand nowhere else, by what they open."""
    return {place: f"canary-{place}-{secrets.token_hex(12)}" for place in ("auth", "hub", "key-id", "key")}


@pytest.fixture(scope="module")
def release(
    module_helm: Helm, module_namespace: Kubectl, release_values: Document, bucket: Bucket, canaries: dict[str, str]
) -> Iterator[Release]:
    """A release that has every secret that one can have, after a comparison of the demo plan."""
    literals = {
        f"{NAME}-auth": {"auth-string": f"team:{canaries['auth']}"},
        "hub-token": {"token": canaries["hub"]},
        "results-bucket": {
            "AWS_ACCESS_KEY_ID": canaries["key-id"],
            "AWS_SECRET_ACCESS_KEY": canaries["key"],
            "AWS_ENDPOINT_URL": bucket.url,
            "AWS_DEFAULT_REGION": "us-east-1",
        },
    }
    for name, values in literals.items():
        given = [f"--from-literal={key}={value}" for key, value in values.items()]
        module_namespace.run("create", "secret", "generic", name, *given)
    named = {
        "auth": {"existingSecret": f"{NAME}-auth"},
        "hub": {"existingSecret": "hub-token"},
        "results": {"url": f"s3://{BUCKET}/team", "existingSecret": "results-bucket"},
    }
    module_helm.install(NAME, {**release_values, **named})
    with reached(NAME, module_namespace) as release:
        state = release.wait_for_end(release.start_comparison())
        assert state["type"] == "COMPLETED", state
        yield release


@pytest.fixture(scope="module")
def forms(canaries: dict[str, str]) -> dict[str, list[bytes]]:
    """What each canary looks like, as it is and in base64, which has three forms by where it begins."""
    return {
        name: [secret.encode(), *(base64.b64encode(bytes(shift) + secret.encode())[4:-4] for shift in range(3))]
        for name, secret in canaries.items()
    }


def assert_clean(places: Mapping[str, bytes], known: str, forms: Mapping[str, list[bytes]]) -> None:
    """Check that no canary is in any place, and that what is known to be in one of them is found."""
    found = {
        (name, place)
        for place, content in places.items()
        for name, looks in {**forms, "known": [known.encode()]}.items()
        if any(look in content for look in looks)
    }
    assert {name for name, _ in found} == {"known"}, sorted(found)


def search_files(release: Release, pod: str, folders: list[str], looks: Mapping[str, list[bytes]]) -> set[str]:
    """Return which canaries are in any file of some folders of a pod's container."""
    given = json.dumps({name: [form.hex() for form in forms] for name, forms in looks.items()})
    command = ["exec", "--stdin", pod, "--", "python", "-c", SEARCH, *folders]
    return {name for name, _ in json.loads(release.kubectl.run(*command, given=given).stdout)}


def ask_raw(release: Release, target: str, auth: str) -> tuple[int, bytes]:
    """Send a path to the results as it stands: other clients would tidy it up."""
    address = urlsplit(release.results_url)
    assert address.hostname
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.putrequest("GET", target)
    connection.putheader("Authorization", "Basic " + base64.b64encode(auth.encode()).decode())
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_no_secret_is_in_a_log(release: Release, forms: dict[str, list[bytes]]) -> None:
    names = [pod["metadata"]["name"] for pod in release.kubectl.list("pods")]
    logs = {name: release.kubectl.logs(name, "--all-containers").encode() for name in names}

    assert len(logs) > 9, "seven arms, those that prepare, the runner and Prefect"
    assert_clean(logs, "compare-backbones", forms)


def test_no_secret_is_in_an_object_of_the_release(release: Release, forms: dict[str, list[bytes]]) -> None:
    objects = release.kubectl.run("get", OBJECTS, "--output=json").stdout
    helm = Helm(release.kubectl)
    told = {what: helm.run("get", what, NAME).stdout.encode() for what in ("manifest", "values", "notes", "hooks")}

    assert_clean({"objects": objects.encode(), **told}, "freeze-bench/config", forms)


def test_no_secret_is_in_the_results(release: Release, bucket: Bucket, forms: dict[str, list[bytes]]) -> None:
    assert release.read_result("demo/comparison.png").startswith(b"\x89PNG")

    assert_clean({name: bucket.read(name) for name in bucket.names()}, "language-names", forms)


def test_no_secret_is_in_what_prefect_knows(release: Release, forms: dict[str, list[bytes]]) -> None:
    kinds = ("artifacts", "deployments", "flow_runs", "logs", "task_runs", "variables", "block_documents", "events")
    known = {kind: json.dumps(release.ask_prefect(f"{kind}/filter", {})).encode() for kind in kinds}

    assert_clean(known, "demo-standings", forms)


def test_no_secret_is_in_a_file_of_the_release(
    release: Release, images: dict[str, str], forms: dict[str, list[bytes]]
) -> None:
    claim = mounted(f"{NAME}-cache", "/cache")
    reader = {**claim["container"], "image": images["flows"], "command": ["sh", "-c"]}
    release.kubectl.apply(build_pod("reader", "sleep 600", container=reader, volumes=claim["volumes"]))
    release.kubectl.wait_for("pod", "reader", lambda pod: bool(pod["status"]["phase"] == "Running"), seconds=120)

    for pod, folders, known in (
        (f"deployment/{NAME}-prefect", ["/data", TMP], b"compare-backbones"),
        (f"deployment/{NAME}-runner", [TMP], b"DejaVu"),
        ("pod/reader", ["/cache"], b"architectures"),
    ):
        assert search_files(release, pod, folders, {**forms, "known": [known]}) == {"known"}, pod
    release.kubectl.delete("pod", "reader")  # while it runs, the claim stays, and helm waits for that to go


def test_workers_get_no_token_of_the_cluster_and_only_those_that_prepare_the_hubs(release: Release) -> None:
    pods = {part: release.pods(f"app.kubernetes.io/component={part}") for part in ("worker", "prepare")}

    assert len(pods["worker"]) == 7
    assert pods["prepare"]
    for part, found in pods.items():
        text = json.dumps([pod["spec"] for pod in found])
        assert "serviceAccountToken" not in text
        assert f"{NAME}-auth" not in text
        assert ("hub-token" in text) == (part == "prepare")


@pytest.mark.parametrize(
    "target",
    [
        "/../../proc/self/environ",
        "/demo/../../../proc/self/environ",
        "/%2e%2e/%2e%2e/proc/self/environ",
        "/demo/..%2f..%2f..%2fproc%2fself%2fenviron",
        "/%252e%252e/proc/self/environ",
        "//proc/self/environ",
        "/file:///proc/self/environ",
        f"/s3:%2f%2f{BUCKET}/team/demo/plan.json",
    ],
)
def test_no_path_leads_out_of_the_results(target: str, release: Release) -> None:
    assert ask_raw(release, "/demo/plan.json", release.auth_string)[0] == 200
    assert ask_raw(release, "/demo/plan.json", "team:canary")[0] == 401

    assert ask_raw(release, target, release.auth_string) == (404, b"There is nothing here.\n")


def test_names_that_climb_stay_in_their_place(release: Release, bucket: Bucket, tmp_path: Path) -> None:
    before = set(bucket.names())
    plan = tmp_path / "plan.toml"
    plan.write_text(ESCAPE, encoding="utf-8")

    done = release.run("freeze-bench", "submit", str(plan), "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    added = set(bucket.names()) - before
    assert "team/escape/runs/cache-arm/seed-0/result.json" in added
    assert all(name.startswith("team/escape/") for name in added)
    assert {job["metadata"]["labels"]["freeze-bench/arm"] for job in release.jobs("freeze-bench/mode=frozen")} >= {
        "cache-arm"
    }


def test_paths_that_climb_out_of_the_volumes_are_refused_before_a_job_exists(release: Release) -> None:
    plan = {
        "name": "climb",
        "data": {"source": "/cache/../etc/shadow.csv"},
        "arms": [{"backbone": "/cache/../etc/model", "mode": "frozen"}],
    }

    state = release.wait_for_end(release.start_comparison("--params", json.dumps({"plan": plan})))

    assert state["type"] == "FAILED"
    assert "/cache/../etc/shadow.csv" in state["message"]
    assert "/cache/../etc/model" in state["message"]
    assert release.jobs("freeze-bench/comparison=climb") == []
