"""A stage on somebody's Ray cluster: submitted as a job, waited for, stopped on Ctrl-C.

The job runs this same program in the same folder with the same Python, so the project and its
environment must lie where the cluster's nodes see them (a shared file system): Ray's own
`working_dir` leaves out what .gitignore names, which is every output that DVC tracks. Whoever may
submit a job may run anything on the cluster, hence the checks before the first one.
"""

import ipaddress
import json
import logging
import os
import shlex
import sys
import time
import uuid
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from opendet.console import remembered_interrupts
from opendet.sources.card import variables_of
from opendet.telemetry import SWITCHES

if TYPE_CHECKING:
    from ray.dashboard.modules.job.pydantic_models import JobDetails
    from ray.job_submission import JobSubmissionClient

    from opendet.build import Build

ADDRESS_VARIABLE = "OPENDET_RAY_ADDRESS"
INSIDE_VARIABLE = "OPENDET_IN_RAY_JOB"
INSECURE_VARIABLE = "OPENDET_ALLOW_INSECURE_RAY"

ANSWER_SECONDS = 10.0
LOOK_EVERY_SECONDS = 1.0
# So long may the job server be away before we give up on it; the job itself goes on meanwhile.
OUTAGE_SECONDS = 60.0
STOP_SECONDS = 20.0

log = logging.getLogger(__name__)


def submit_stage(module: str, build: "Build", address: str) -> None:
    """Run `python -m <module>` as a job of the cluster at `address`, and wait for it.

    Shows its log on stderr. Raises ValueError where the cluster cannot be reached, is open to
    everybody, or the job fails; stops the job when interrupted.
    """
    check_address(address)
    _check_server(address)
    # We choose the name, so that an interrupt during the submission knows what to stop.
    job = f"opendet-{uuid.uuid4().hex[:12]}"
    client = _connect(address)
    try:
        ended = _run(client, job, module, build)
    except KeyboardInterrupt:
        _stop(client, job)
        raise
    except _troubles() as error:
        raise ValueError(
            f"{module}: lost {address} and its job {job}, which may still run: {_first_line(error)}"
        ) from error
    if ended.status != "SUCCEEDED":
        verb = "was stopped" if ended.status == "STOPPED" else "failed"
        raise ValueError(f"{module} {verb} on {address} as job {job}: {_where_to_look(ended)}")


def check_address(address: str) -> None:
    """Raises ValueError for an address that is none, or a cluster that asks for no token."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address} is no job server's address: it looks like http://head:8265")
    if parts.username or parts.password:  # It would be in logs and in the list of processes.
        raise ValueError(f"{parts.hostname}: a cluster's address holds no user name or password")
    if not _trusted(address) and os.environ.get("RAY_AUTH_MODE") != "token":
        raise ValueError(
            f"{address} is not on loopback and RAY_AUTH_MODE is not `token`: {_MEND_OPEN}"
        )


def inside_job() -> bool:
    """Whether this process is a job's entry point on a cluster."""
    return os.environ.get(INSIDE_VARIABLE) == "1"


_MEND_OPEN = (
    "start the cluster with token authentication, "
    f"or set {INSECURE_VARIABLE}=1 if nobody else can reach it"
)


def _trusted(address: str) -> bool:
    """Whether a cluster there may be open to everybody who reaches it."""
    host = urlsplit(address).hostname or ""
    return _is_loopback(host) or os.environ.get(INSECURE_VARIABLE) == "1"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_server(address: str) -> None:
    """Ask the cluster itself whether it wants a token, before ours goes over the wire."""
    try:
        url = f"{address.rstrip('/')}/api/authentication_mode"
        with urlopen(url, timeout=ANSWER_SECONDS) as reply:
            mode = json.load(reply)["authentication_mode"]
    except (OSError, ValueError, LookupError, TypeError, HTTPException) as error:
        why = error.reason if type(error) is URLError else _first_line(error)
        raise ValueError(
            f"no Ray job server answers at {address}: {why}: start the cluster "
            "(`ray start --head`), or mend the address"
        ) from error
    if mode != "token" and not _trusted(address):
        raise ValueError(f"the Ray cluster at {address} is open to everybody: {_MEND_OPEN}")
    if mode == "token" and os.environ.get("RAY_AUTH_MODE") != "token":
        raise ValueError(
            f"the Ray cluster at {address} asks for a token: "
            "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the token's file"
        )


def _connect(address: str) -> "JobSubmissionClient":
    # Ray lets these win over the address that it is given, which is the one that we have checked.
    for variable in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        os.environ.pop(variable, None)
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except _troubles() as error:
        raise ValueError(f"the Ray cluster at {address}: {_first_line(error)}") from error


def _run(client: "JobSubmissionClient", job: str, module: str, build: "Build") -> "JobDetails":
    command = [sys.executable, "-m", module, "--build", build.name, "--actors", str(build.actors)]
    try:
        client.submit_job(
            entrypoint=f"cd {shlex.quote(str(build.root))} && exec {shlex.join(command)}",
            submission_id=job,
            runtime_env={"env_vars": _variables(build), "py_executable": sys.executable},
        )
    except _troubles() as error:
        raise ValueError(f"the cluster did not take job {job}: {_first_line(error)}") from error
    return _follow(client, job)


def _variables(build: "Build") -> dict[str, str]:
    """What the job's processes are told. Everybody on the cluster can read it: no token is in it.

    The token by which the job itself talks to the cluster is the one that its node was started
    with.
    """
    places = " ".join(f"{batch.root} {batch.images}" for batch in build.card.batches)
    told = ("HF_HUB_OFFLINE", "HF_HOME", *variables_of(places))
    here = {name: os.environ[name] for name in (*told, *SWITCHES) if name in os.environ}
    return {**SWITCHES, **here, INSIDE_VARIABLE: "1"}


def _follow(client: "JobSubmissionClient", job: str) -> "JobDetails":
    """Show the job's log until it has ended; what it ended as."""
    shown = 0
    answered = time.monotonic()
    with remembered_interrupts() as raise_if_lost:
        while True:
            raise_if_lost()
            try:
                # First the status: the log that is read after a job's end is whole.
                details = client.get_job_info(job)
                text = client.get_job_logs(job) if details.driver_agent_http_address else ""
                answered = time.monotonic()
            except _troubles():
                if time.monotonic() - answered > OUTAGE_SECONDS:
                    raise
            else:
                sys.stderr.write(text[shown:])
                sys.stderr.flush()
                shown = max(shown, len(text))
                if details.status.is_terminal():
                    return details
            time.sleep(LOOK_EVERY_SECONDS)


def _stop(client: "JobSubmissionClient", job: str) -> None:
    """Stop the job and wait for its end, so that whoever runs next finds the build unlocked."""
    try:
        client.stop_job(job)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if client.get_job_status(job).is_terminal():
                return
            time.sleep(LOOK_EVERY_SECONDS / 4)
        log.error("job %s has not ended %.0f s after it was told to stop", job, STOP_SECONDS)
    except _troubles() as error:
        log.error("job %s may still run: %s", job, _first_line(error))


def _where_to_look(job: "JobDetails") -> str:
    if job.driver_agent_http_address:
        return "its log is above"
    return f"it never began: {(job.message or 'the cluster gives no reason').splitlines()[0]}"


def _troubles() -> tuple[type[Exception], ...]:
    """How the job server's client says that it could not do what it was asked."""
    from ray.exceptions import AuthenticationError

    return (OSError, RuntimeError, AuthenticationError)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
