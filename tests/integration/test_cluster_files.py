"""The files of cluster/ against what reads them: Ray's schema, Kubernetes' API, the pinned versions, each other."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft202012Validator, ValidationError, validate
from ray.autoscaler._private.util import prepare_config, validate_config
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
SCHEMAS = ROOT / "tests/data/kubernetes"
API = "kubernetes-1.34.json"
RAY_SCHEMA = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
RAY_UP = sorted(CLUSTER.glob("ray-up-*.yaml"))
KUBERAY = sorted((CLUSTER / "kuberay").glob("*.yaml"))
KINDS = {
    "RayCluster": "kuberay-v1.json#/$defs/RayCluster",
    "RayJob": "kuberay-v1.json#/$defs/RayJob",
    "NetworkPolicy": f"{API}#/$defs/io.k8s.api.networking.v1.NetworkPolicy",
    "PersistentVolumeClaim": f"{API}#/$defs/io.k8s.api.core.v1.PersistentVolumeClaim",
}
# Every node and client of every site.
SETTINGS = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_WAIT_TIME_S": "30"}


def documents() -> Iterator[Any]:
    for path in KUBERAY:
        for content in yaml.safe_load_all(path.read_text()):
            yield pytest.param(content, id=f"{path.stem}-{content['kind']}")


def check_kubernetes(content: dict[str, Any]) -> None:
    resources = [
        (name, Resource.from_contents(json.loads((SCHEMAS / name).read_text()), default_specification=DRAFT202012))
        for name in (API, "kuberay-v1.json")
    ]
    Draft202012Validator({"$ref": KINDS[content["kind"]]}, registry=Registry().with_resources(resources)).validate(
        content
    )


def ray_spec(content: dict[str, Any]) -> dict[str, Any]:
    spec = content["spec"]
    return dict(spec["rayClusterSpec"] if content["kind"] == "RayJob" else spec)


def pods(content: dict[str, Any]) -> list[dict[str, Any]]:
    spec = ray_spec(content)
    return [group["template"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def pinned(name: str) -> str:
    return re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.stem)
def test_ray_up_files_pass_rays_own_check(path):
    config = yaml.safe_load(path.read_text())
    validate(config, RAY_SCHEMA)
    if config["provider"]["type"] == "local":
        validate_config(prepare_config(deepcopy(config)))
    else:  # the rest of Ray's check asks the cloud
        workers = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
        assert config["head_node_type"] in config["available_node_types"]
        assert sum(kind["max_workers"] for kind in workers) <= config["max_workers"]
        assert all(kind["min_workers"] <= kind["max_workers"] for kind in workers)


def test_a_misspelt_key_of_a_ray_up_file_is_refused():
    config = yaml.safe_load(RAY_UP[0].read_text())
    with pytest.raises(ValidationError, match="idle_minutes"):
        validate({**config, "idle_minutes": 5}, RAY_SCHEMA)


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.stem)
def test_ray_up_starts_keep_what_is_ours(path):
    config = yaml.safe_load(path.read_text())
    commands = " ".join(config["head_start_ray_commands"] + config["worker_start_ray_commands"])
    assert "ray stop" not in commands  # it ends every Ray of the host
    assert "--dashboard-host=127.0.0.1" in " ".join(config["head_start_ray_commands"])
    assert commands.count("--disable-usage-stats") == 2
    if "docker" not in config:  # the image has them
        for name, value in SETTINGS.items():
            assert commands.count(f"{name}={value}") == 2


@pytest.mark.parametrize("content", list(documents()))
def test_kubernetes_knows_every_field(content):
    check_kubernetes(content)


@pytest.mark.parametrize(
    ("where", "key"),
    [("spec", "rayversion"), ("template", "specs"), ("container", "volumemounts"), ("policy", "ingresses")],
)
def test_a_misspelt_field_is_refused(where, key):
    cluster = yaml.safe_load((CLUSTER / "kuberay/cluster.yaml").read_text())
    policy = [
        c for c in yaml.safe_load_all((CLUSTER / "kuberay/storage.yaml").read_text()) if "podSelector" in c["spec"]
    ]
    template = cluster["spec"]["headGroupSpec"]["template"]
    places = {"spec": cluster["spec"], "template": template, "container": template["spec"]["containers"][0]}
    places["policy"] = policy[0]["spec"]
    places[where][key] = {}
    with pytest.raises(ValidationError, match=key):
        check_kubernetes(policy[0] if where == "policy" else cluster)


@pytest.mark.parametrize("content", [c for c in documents() if "Ray" in c.id])
def test_pods_have_what_ray_and_a_training_need(content):
    storage = {c["kind"]: c for c in yaml.safe_load_all((CLUSTER / "kuberay/storage.yaml").read_text())}
    spec = ray_spec(content)
    assert spec["rayVersion"] == pinned("ray")
    assert spec["authOptions"] == {"mode": "token", "secretName": "ulmfit-token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for pod in pods(content):
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounted["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        claim = mounted["/shared"]["persistentVolumeClaim"]["claimName"]
        assert claim == storage["PersistentVolumeClaim"]["metadata"]["name"]
        assert "emptyDir" in mounted["/cache"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert SETTINGS.items() <= environment.items()
        assert container["image"] == f"ulmfit-dist:{version()}"
        assert pod["spec"]["terminationGracePeriodSeconds"] >= 30
        # The policy closes exactly these pods.
        chosen = storage["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
        assert chosen.items() <= pod["metadata"]["labels"].items()
    if content["kind"] == "RayJob":
        assert content["spec"]["backoffLimit"] > 0
        assert content["spec"]["shutdownAfterJobFinishes"] is True


class Containerfile:
    """The instructions of the container file, continued lines joined."""

    def __init__(self) -> None:
        text = re.sub(r"^#.*\n", "", (CLUSTER / "Containerfile").read_text(), flags=re.MULTILINE)
        lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
        self.steps = [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]

    def of(self, name: str) -> list[str]:
        return [rest for kind, rest in self.steps if kind == name]


def test_the_container_file_copies_what_is_there_and_installs_what_is_pinned():
    file = Containerfile()
    copied = {source for rest in file.of("COPY") for source in rest.split()[:-1]}
    for source in copied:
        assert (ROOT / source).exists(), source
    # What the build of the package reads.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "ulmfit_dist"}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    assert needed <= copied
    installs = [rest for rest in file.of("RUN") if "pip install" in rest]
    assert installs
    for rest in installs:
        assert "--constraint constraints.txt" in rest
        for word in shlex.split(rest.partition("constraints.txt")[2]):
            name = word.partition("[")[0]
            assert name == "." or pinned(name)
    assert "# The tested versions (Python 3.11)" in (ROOT / "constraints.txt").read_text()
    assert re.search(r"python:3\.11-", file.of("FROM")[0])


def test_the_image_has_the_settings_and_no_token_and_is_not_root():
    file = Containerfile()
    environment = dict(word.split("=", 1) for rest in file.of("ENV") for word in shlex.split(rest))
    assert SETTINGS.items() <= environment.items()
    assert "RAY_AUTH_TOKEN" not in environment
    assert file.of("USER")[-1] != "root"


def test_the_settings_of_the_scripts_are_those_of_the_image(tmp_path):
    (tmp_path / "token").touch()
    show = f"source {CLUSTER}/settings.sh && env"
    environment = {"PATH": "/usr/bin:/bin", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    shown = subprocess.run(["bash", "-euc", show], env=environment, capture_output=True, text=True, check=True).stdout
    assert SETTINGS.items() <= dict(line.split("=", 1) for line in shown.splitlines()).items()


def test_a_token_is_random_private_and_kept(tmp_path):
    make = f"source {CLUSTER}/settings.sh; make_token {tmp_path}/token; make_token {tmp_path}/other"
    environment = {"PATH": "/usr/bin:/bin", "RAY_AUTH_TOKEN_PATH": "unused"}
    tokens = []
    for _ in range(2):
        subprocess.run(["bash", "-euc", f"umask 022; {make}"], env=environment, check=True)
        tokens.append((tmp_path / "token").read_text())
    assert re.fullmatch(r"[0-9a-f]{64}", tokens[0])
    assert tokens[0] == tokens[1] != (tmp_path / "other").read_text()
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["local.sh", "node.sh", "settings.sh", "slurm.sbatch"])
def test_scripts_parse(name):
    assert subprocess.run(["bash", "-n", CLUSTER / name], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["local.sh"], ["local.sh", "begin", "x"], ["node.sh", "both"]])
def test_wrong_arguments_are_told(arguments):
    command = ["bash", str(CLUSTER / arguments[0]), *arguments[1:]]
    environment = {"PATH": "/usr/bin:/bin", "RAY_AUTH_TOKEN_PATH": "unused"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_the_readme_names_every_file():
    readme = (CLUSTER / "README.md").read_text()
    for path in CLUSTER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            assert path.name in readme, path.name
