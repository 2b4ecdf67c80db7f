"""A stage on somebody's Ray cluster: submitted as a job, waited for, stopped on Ctrl-C.

The job runs this same program in the same folder, so the project must lie where the cluster's nodes
see it (a shared file system): Ray's own `working_dir` leaves out what .gitignore names, which is
every output that DVC tracks.
"""

import asyncio
import ipaddress
import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from opendet.build import Build

ADDRESS_VARIABLE = "OPENDET_RAY_ADDRESS"
INSIDE_VARIABLE = "OPENDET_IN_RAY_JOB"
INSECURE_VARIABLE = "OPENDET_ALLOW_INSECURE_RAY"

log = logging.getLogger(__name__)


def submit_stage(module: str, build: "Build", address: str) -> None:
    """Run `python -m <module>` as a job of the cluster at `address`, and wait for it.

    Streams its log. Raises ValueError where the cluster cannot be reached, is open to everybody, or
    the job fails; stops the job when interrupted.
    """
    check_address(address)
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"no Ray job server answers at {address}: {first_line}") from error
    command = [sys.executable, "-m", module, "--build", build.name, "--actors", str(build.actors)]
    job = client.submit_job(
        entrypoint=f"cd {shlex.quote(str(build.root))} && exec {shlex.join(command)}",
        runtime_env={"env_vars": {INSIDE_VARIABLE: "1"}},
    )
    try:
        asyncio.run(_stream(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        raise
    if client.get_job_status(job) != JobStatus.SUCCEEDED:
        raise ValueError(f"{module} failed on {address} as job {job}: its log is above")


def check_address(address: str) -> None:
    """Raises ValueError for an address that is none, or a cluster that asks for no token."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{address} is no job server's address: it looks like http://head:8265")
    if _is_loopback(parts.hostname) or os.environ.get(INSECURE_VARIABLE) == "1":
        return
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise ValueError(
            f"{address} is not on loopback and RAY_AUTH_MODE is not `token`: start the cluster "
            f"with token authentication, or set {INSECURE_VARIABLE}=1 if nobody else can reach it"
        )


def inside_job() -> bool:
    """Whether this process is a job's entry point on a cluster."""
    return os.environ.get(INSIDE_VARIABLE) == "1"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _stream(client: "JobSubmissionClient", job: str) -> None:
    async for text in client.tail_job_logs(job):
        sys.stderr.write(text)
        sys.stderr.flush()
