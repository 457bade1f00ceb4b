"""What a request is about, in what the launcher has in view; or the problem that it is not there."""

from ashore.http.problems import Problem
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    JOB,
    POD,
    Cluster,
    ClusterError,
    JsonObject,
    Key,
    Kind,
    NotFound,
)
from ashore_broker_launcher.desired.phases import as_dict
from ashore_broker_launcher.management.views import created, shown
from ashore_broker_launcher.objects import key_of, uid_of
from ashore_broker_launcher.reconciling.view import View


def find(view: View, kind: Kind, key: Key) -> JsonObject:
    """A configuration or an instance; raise Problem."""
    body = view.get(kind, key)
    if body is None:
        word = kind.name.lower()
        raise Problem(404, f"there is no {word} {shown(key)}", remedy=f"`ashore {word} list` says what there is")
    return body


def pod_of(view: View, key: Key) -> str:
    """The pod of this name, or the latest one of the job of this name, if the launcher made it; raise Problem."""
    if view.get(POD, key) is not None:
        return key[1]
    job = view.get(JOB, key)
    pods = [body for kind, body in view.owned(uid_of(job)) if kind == POD] if job is not None else []
    if not pods:
        why = "the job {} has no pod" if job is not None else "the launcher has made no pod and no job {}"
        raise Problem(404, why.format(shown(key)), remedy="`ashore workload list` says what there is")
    return str(max(pods, key=created)["metadata"]["name"])


def refuse_without_jobs(view: View, instance: JsonObject) -> None:
    """Raise Problem where nothing of an instance could run again."""
    owned = (kind for kind, _ in view.owned(uid_of(instance)))
    key = key_of(instance)[0], str(as_dict(instance.get("spec")).get("configurationName"))
    spec = as_dict(as_dict(view.get(CONFIGURATION, key)).get("spec"))
    if JOB not in owned and not as_dict(spec.get("brokerSpec")).get("brokerJobSpec"):
        raise Problem(
            409,
            f"nothing of the instance {shown(key_of(instance))} is a job",
            remedy="a pod that shall start anew is deleted: the launcher makes it again",
        )


async def why_unusable(cluster: Cluster) -> str:
    """Why the cluster cannot be used; empty where it can. It is asked now."""
    try:
        await cluster.kind(CONFIGURATION.api_version, CONFIGURATION.name)
    except NotFound:
        return "the cluster does not know Configurations of akri.sh/v0"
    except ClusterError as error:
        return str(error)
    return ""
