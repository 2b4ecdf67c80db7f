"""The manifests for KubeRay, as far as no Kubernetes is needed: fields, tokens, who comes in.

The fields are those of KubeRay 1.6's `ray.io/v1`, of which these manifests use the ones below.
"""

import re
import shlex
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from typer.main import get_command

from opendet.cli import app
from opendet.cluster import INSIDE_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
CLUSTERS = ROOT / "configs" / "cluster"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Named(Strict):
    """Metadata."""

    name: str = ""
    generateName: str = ""  # noqa: N815
    labels: dict[str, str] = Field(default_factory=dict)


class Template(Strict):
    metadata: Named
    spec: dict[str, Any]


class HeadGroup(Strict):
    serviceType: Literal["ClusterIP"]  # noqa: N815
    enableIngress: Literal[False]  # noqa: N815
    rayStartParams: dict[str, str]  # noqa: N815
    template: Template


class WorkerGroup(Strict):
    groupName: str  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815
    rayStartParams: dict[str, str]  # noqa: N815
    template: Template


class AuthOptions(Strict):
    mode: Literal["token"]


class ClusterSpec(Strict):
    rayVersion: str  # noqa: N815
    authOptions: AuthOptions  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup]  # noqa: N815


class JobSpec(Strict):
    entrypoint: str
    runtimeEnvYAML: str  # noqa: N815
    backoffLimit: int  # noqa: N815
    shutdownAfterJobFinishes: Literal[True]  # noqa: N815
    ttlSecondsAfterFinished: int  # noqa: N815
    rayClusterSpec: ClusterSpec  # noqa: N815


class RayCluster(Strict):
    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayCluster"]
    metadata: Named
    spec: ClusterSpec


class RayJob(Strict):
    apiVersion: Literal["ray.io/v1"]  # noqa: N815
    kind: Literal["RayJob"]
    metadata: Named
    spec: JobSpec


def manifests(name: str) -> list[Any]:
    return list(yaml.safe_load_all((CLUSTERS / name).read_text()))


@pytest.fixture(scope="module")
def cluster() -> RayCluster:
    [one] = manifests("kuberay-cluster.yaml")
    return RayCluster.model_validate(one)


@pytest.fixture(scope="module")
def job() -> RayJob:
    [one] = manifests("kuberay-job.yaml")
    return RayJob.model_validate(one)


def groups(spec: ClusterSpec) -> list[HeadGroup | WorkerGroup]:
    return [spec.headGroupSpec, *spec.workerGroupSpecs]


def pods(spec: ClusterSpec) -> list[dict[str, Any]]:
    return [group.template.spec for group in groups(spec)]


def test_the_job_brings_the_same_cluster(cluster: RayCluster, job: RayJob) -> None:
    assert job.spec.rayClusterSpec == cluster.spec


def test_rays_version_is_the_projects(cluster: RayCluster) -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert cluster.spec.rayVersion == pinned[1]
    assert tuple(map(int, pinned[1].split(".")))[:2] >= (2, 52)  # the first with tokens


def test_no_actor_on_the_head_and_nobody_from_outside(cluster: RayCluster) -> None:
    head = cluster.spec.headGroupSpec
    assert head.rayStartParams["num-cpus"] == "0"
    assert head.rayStartParams["disable-usage-stats"] == "true"
    for pod in pods(cluster.spec):
        assert not pod.get("hostNetwork")
        assert all("ports" not in container for container in pod["containers"])


def test_start_options_are_rays(cluster: RayCluster) -> None:
    from ray.scripts.scripts import start

    known = {flag.removeprefix("--") for option in start.params for flag in option.opts}
    for group in groups(cluster.spec):
        assert set(group.rayStartParams) <= known


def test_containers_can_do_little(cluster: RayCluster) -> None:
    for pod in pods(cluster.spec):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        user = re.search(r"--uid (\d+)", (ROOT / "docker" / "Dockerfile.cuda").read_text())
        assert user
        assert pod["securityContext"]["runAsUser"] == int(user[1])
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert re.fullmatch(r"[a-z0-9./-]+:[0-9][\w.-]*", container["image"])  # no `latest`
            # no token is written down: KubeRay makes it
            assert not [one for one in container["env"] if "TOKEN" in one["name"]]


def test_all_nodes_see_one_folder_that_all_may_write(cluster: RayCluster) -> None:
    claim, policy = manifests("kuberay-base.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    name = claim["metadata"]["name"]
    for pod in pods(cluster.spec):
        assert pod["volumes"] == [{"name": "shared", "persistentVolumeClaim": {"claimName": name}}]
        for container in pod["containers"]:
            assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    for group in groups(cluster.spec):
        assert chosen.items() <= group.template.metadata.labels.items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]


def test_the_network_policy_lets_in_the_namespace_and_the_operator_alone() -> None:
    _, policy = manifests("kuberay-base.yaml")
    assert policy["kind"] == "NetworkPolicy"
    operator = {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
    assert policy["spec"]["ingress"] == [
        {
            "from": [
                {"podSelector": {}},  # without a namespace: this one
                {"namespaceSelector": {}, "podSelector": operator},
            ]
        }
    ]


def test_workers_ask_for_as_much_as_they_get(cluster: RayCluster) -> None:
    """Ray counts by the limits, Kubernetes places by the requests."""
    for pod in pods(cluster.spec):
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_job_runs_a_command_that_is_ours(job: RayJob) -> None:
    shell, flag, line = shlex.split(job.spec.entrypoint)
    assert (shell, flag) == ("bash", "-c")
    folder, _, command = line.partition(" && exec ")
    assert folder.startswith("cd /shared/")
    assert_command(shlex.split(command))
    told = yaml.safe_load(job.spec.runtimeEnvYAML)
    assert told == {"env_vars": {INSIDE_VARIABLE: "1"}}
    actors = int(command.rsplit(" ", 1)[1])
    cpus = sum(
        group.replicas * int(group.template.spec["containers"][0]["resources"]["limits"]["cpu"])
        for group in job.spec.rayClusterSpec.workerGroupSpecs
    )
    assert actors <= cpus


def test_the_command_by_hand_is_ours() -> None:
    text = (CLUSTERS / "kuberay-cluster.yaml").read_text()
    said = re.search(r"opendet data build [^']+", text)
    assert said
    assert_command(shlex.split(said[0]))


def assert_command(words: list[str]) -> None:
    """Parsed and not run."""
    program, *rest = words
    assert program == "opendet"
    command: Any = get_command(app)
    while rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    command.make_context("opendet", rest)
