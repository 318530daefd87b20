#!/usr/bin/env python3
"""Checks deploy/: every kustomization and every chart, rendered; needs kubectl, go, PyYAML and kubernetes-validate.

Each object obeys the schemas of Kubernetes, strictly, or the fields below for kinds of operators. Pods obey the
restricted profile of pod security, where they must. The charts render to the objects of the kustomizations.
"""
import copy, json, pathlib, subprocess, sys, tempfile
import kubernetes_validate, yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = TOP / "deploy"
# Kinds of operators, whose schemas come with the operators: the fields of `spec` that their documentation lists.
OPERATORS = {
    "ServiceMonitor": {"jobLabel", "selector", "endpoints"},
    "PrometheusRule": {"groups"},
    "ScaledObject": {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "cooldownPeriod", "advanced", "triggers"},
}
VERSIONS = ["1.29", "1.37"]
checked = 0


def fail(message):
    sys.exit(f"deploy: {message}")


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=TOP)
    if done.returncode:
        fail(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def objects(text):
    return [item for item in yaml.safe_load_all(text) if item]


def kustomized(path):
    return objects(run("kubectl", "kustomize", path))


def rendered(chart, **changes):
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for path, value in changes.items():
        *way, last = path.split("__")
        place = values
        for key in way:
            place = place[key]
        if last not in place:
            fail(f"{chart}/values.yaml has no {path}")
        place[last] = value
    return objects(run("go", "run", "tests/deploy/render.go", chart, stdin=json.dumps(values)))


def pod_of(item):
    """The template of an object's pods, if it has some."""
    if item["kind"] == "CronJob":
        return item["spec"]["jobTemplate"]["spec"]["template"]
    return item["spec"]["template"] if item["kind"] in ("Deployment", "DaemonSet", "Job") else None


def validate(items, name):
    global checked
    for item in items:
        place = f"{name}: {item['kind']} {item['metadata']['name']}"
        if item["kind"] in OPERATORS:
            unknown = set(item["spec"]) - OPERATORS[item["kind"]]
            if unknown:
                fail(f"{place}: spec has {unknown}")
        else:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(item, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    fail(f"{place}: {version}: {error}")
        checked += 1


def is_restricted(item):
    """True if a pod obeys the restricted profile."""
    pod = pod_of(item)["spec"]
    own = pod["securityContext"]
    containers = pod["containers"]
    return (
        own["runAsNonRoot"] and own["runAsUser"] > 0 and own["seccompProfile"]["type"] == "RuntimeDefault"
        and not pod["automountServiceAccountToken"] and not pod.get("hostNetwork")
        and all(set(volume) <= {"name", "configMap", "secret", "emptyDir"} for volume in pod["volumes"])
        and all(
            not box["securityContext"]["allowPrivilegeEscalation"]
            and box["securityContext"]["readOnlyRootFilesystem"]
            and box["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            for box in containers
        )
    )


def plain(items):
    """Objects by kind without what a way to deploy them adds: namespaces, hashes of the configuration."""
    found = {}
    for item in copy.deepcopy(items):
        if item["kind"] == "Namespace":
            continue
        item["metadata"].pop("namespace", None)
        pod = pod_of(item)
        if pod:
            pod["metadata"].pop("annotations", None)
            for volume in pod["spec"]["volumes"]:
                if "configMap" in volume:
                    volume["configMap"]["name"] = without_hash(volume["configMap"]["name"])
        if item["kind"] == "ConfigMap":
            item["metadata"]["name"] = without_hash(item["metadata"]["name"])
            item["data"] = {name: body(text) for name, text in item["data"].items()}
        found[item["kind"]] = json.dumps(item, sort_keys=True)
    return found


def without_hash(name):
    head, _, tail = name.rpartition("-")
    return head if len(tail) == 10 and head else name


def body(text):
    """A configuration without its first comments and the line ends around it."""
    lines = text.strip().splitlines()
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    return "\n".join(lines).strip()


def equal(a, b, name):
    if a.keys() != b.keys():
        fail(f"{name}: kinds {sorted(a)} and {sorted(b)}")
    for kind in a:
        if a[kind] != b[kind]:
            fail(f"{name}: {kind} differs:\n{a[kind]}\n{b[kind]}")


def overlay(directory, components):
    """An overlay of this repository with components, as a user writes it."""
    lines = [f"resources: [../{directory}]", f"components: [{', '.join(f'../{name}' for name in components)}]"]
    return overlaid("\n".join(lines) + "\n")


def overlaid(text):
    """The objects of a user's kustomization next to those of the job."""
    with tempfile.TemporaryDirectory(dir=DEPLOY / "job") as place:
        (pathlib.Path(place) / "kustomization.yaml").write_text(text)
        return kustomized(place)


job, chart = DEPLOY / "job", DEPLOY / "job/chart"
for name, changes in {
    "serve": {},
    "nightly": {"serve__enabled": False, "nightly__enabled": True},
}.items():
    items, made = kustomized(job / name), rendered(chart, **changes)
    validate(items, name)
    validate(made, f"chart {name}")
    equal(plain(items), plain(made), name)
    for item in items + made:
        if pod_of(item) and not is_restricted(item):
            fail(f"{name}: {item['kind']} is not restricted")
for name in ("keda", "hpa"):
    items = overlay("serve", ["monitoring", name])
    made = rendered(chart, monitoring__enabled=True, **{f"scaling__{name}": True})
    validate(items, name)
    validate(made, f"chart {name}")
    equal(plain(items), plain(made), name)
    deployment = next(item for item in items if item["kind"] == "Deployment")
    if "replicas" in deployment["spec"]:
        fail(f"{name}: replicas would fight the scaling")

# The gate of docs/gitops.md.
page = (TOP / "docs/gitops.md").read_text()
items = overlaid(page.split("```yaml\n")[1].split("```")[0].replace("../imgdelta/deploy/job/", "../"))
validate(items, "ready")
gate = next(item for item in items if item["kind"] == "Job")
if not is_restricted(gate):
    fail("ready: the Job is not restricted")
if gate["metadata"]["name"] != "deltas-ready-v6" or f"job/{gate['metadata']['name']}\n" not in page:
    fail("ready: the name of the Job is not that of the page")
served = next(item for item in kustomized(job / "serve") if item["kind"] == "ConfigMap")["metadata"]["name"]
if pod_of(gate)["spec"]["volumes"][0]["configMap"]["name"] != served:
    fail("ready: another configuration than that of serve")

# A change of the configuration reaches the pods: another name of the ConfigMap, another annotation.
pods = [next(pod_of(item) for item in rendered(chart, config=text) if item["kind"] == "Deployment") for text in "ab"]
if pods[0] == pods[1]:
    fail("the chart: pods do not restart when the configuration changes")
volumes = pod_of(next(item for item in kustomized(job / "serve") if item["kind"] == "Deployment"))["spec"]["volumes"]
if volumes[0]["configMap"]["name"] == "imgdelta-job":
    fail("serve: the name of the ConfigMap has no hash")

items, made = kustomized(DEPLOY / "node"), rendered(DEPLOY / "node/chart")
validate(items, "node")
validate(made, "chart node")
print(f"deploy: {checked} objects are valid; the charts and the kustomizations agree")
