"""What a local run listens on."""

from opendet.faults.rows import Effort, Shown, Tally
from opendet.ray_session import ray_session

LOOPBACK = ("127.0.0.1", "::1")


def listening(effort: Effort) -> Shown:
    """Every listening socket of a local run's processes, Ray's own among them."""
    import psutil

    tally = Tally()
    for _ in effort.tries(3, least=1):
        with ray_session(cpus=2):
            me = psutil.Process()
            for process in (me, *me.children(recursive=True)):
                for one in process.net_connections(kind="inet"):
                    if one.status == psutil.CONN_LISTEN:
                        address = one.laddr.ip.removeprefix("::ffff:")
                        tally.add("" if address in LOOPBACK else f"{process.name()}: {address}")
    return tally.shown("sockets, all of them on loopback")
