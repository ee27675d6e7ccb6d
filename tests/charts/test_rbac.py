"""What the runner may do: this list and nothing else."""

from chart_renderer import render

EXPECTED = [
    (["batch"], ["jobs"], ["create", "get", "list", "watch", "delete", "deletecollection"], None),
    ([""], ["pods", "events", "resourcequotas"], ["list"], None),
    ([""], ["configmaps"], ["get"], ["bench-freeze-bench-worker"]),
]


def test_the_role_is_this_list() -> None:
    rules = render().find("Role", "bench-freeze-bench-runner")["rules"]

    assert [
        (rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames")) for rule in rules
    ] == EXPECTED


def test_the_role_is_bound_to_the_runner_alone() -> None:
    release = render()
    bindings = [*release.find_all("RoleBinding"), *release.find_all("ClusterRoleBinding")]

    assert [binding["subjects"] for binding in bindings] == [
        [{"kind": "ServiceAccount", "name": "bench-freeze-bench-runner", "namespace": "team"}]
    ] * 2
    assert {binding["roleRef"]["name"] for binding in bindings} == {
        "bench-freeze-bench-runner",
        "team-bench-freeze-bench-nodes",
    }


def test_nodes_may_be_listed_and_no_more() -> None:
    release = render()

    (rule,) = release.find("ClusterRole", "team-bench-freeze-bench-nodes")["rules"]
    assert rule == {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    assert release.settings["check_nodes"] is True


def test_without_the_right_to_list_nodes_nothing_reaches_beyond_the_namespace() -> None:
    release = render({"rbac": {"readNodes": False}})

    assert release.find_all("ClusterRole") + release.find_all("ClusterRoleBinding") == []
    assert release.settings["check_nodes"] is False
    assert release.names("Role") == {"bench-freeze-bench-runner"}


def test_rights_can_be_left_to_whoever_installs() -> None:
    release = render({"rbac": {"create": False}})

    kinds = {each["kind"] for each in release.objects}
    assert kinds.isdisjoint({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})
    assert release.settings["check_nodes"] is False


def test_releases_of_one_name_in_two_namespaces_have_cluster_roles_of_their_own() -> None:
    one, other = (render(namespace=each).names("ClusterRole") for each in ("one", "other"))

    assert one.isdisjoint(other)
