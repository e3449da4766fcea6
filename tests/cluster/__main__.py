"""A cluster to try a failover with, on this machine: ``make cluster``, or ``python -m tests.cluster``.

It starts three PostgreSQL servers, Patroni, etcd and HAProxy, prints their addresses, and waits for commands. When the
program ends, all of it is stopped and removed, data included.
"""

import cmd
import json
import sys
from collections.abc import Callable

from tests.cluster.cluster import Cluster, ClusterFailed
from tests.cluster.programs import ProgramMissing, find_or_install

PORTS = (16431, 16432, 16433, 16481, 16482, 16483, 16430, 16479, 16480)
"""Of PostgreSQL, Patroni, HAProxy and etcd."""
ADDRESSES = """
The address with all hosts:
DATABASE_URL='{url}'
Through HAProxy:
DATABASE_URL='{haproxy}'
Patroni's status of a server: http://127.0.0.1:{rest_port}/cluster
Logs: {folder}/*.log
"""


class Console(cmd.Cmd):
    """The commands. Their docstrings are what ``help`` shows."""

    prompt = "cluster> "

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster
        self.use_rawinput = sys.stdin.isatty()
        if not self.use_rawinput:
            self.prompt = ""

    def say(self, text: str) -> None:
        self.stdout.write(f"{text}\n")
        self.stdout.flush()

    def onecmd(self, line: str) -> bool:
        try:
            return bool(super().onecmd(line))
        except ClusterFailed as error:
            self.say(str(error).partition("\n")[0])
            return False

    def emptyline(self) -> bool:
        return False

    def do_list(self, _: str) -> None:
        """Show the servers, as Patroni sees them."""
        members = json.loads(self.cluster.leader().request("GET", "/cluster")[1])["members"]
        for member in members:
            self.say(f"{member['name']}  port {member['port']}  {member['role']:13}  {member['state']}")

    def do_switchover(self, _: str) -> None:
        """Hand the lead over to another server, as before maintenance."""
        self.say(f"{self.cluster.switchover().name} leads. Waiting until the others follow it …")
        self.cluster.heal()

    def do_kill(self, _: str) -> None:
        """kill -9 of the leader's PostgreSQL and of its Patroni, as if the machine failed."""
        self.fail(lambda: self.cluster.kill_leader(with_patroni=True).name, "was killed")

    def do_kill_server(self, _: str) -> None:
        """kill -9 of the leader's PostgreSQL only."""
        self.fail(lambda: self.cluster.kill_leader(with_patroni=False).name, "was killed")

    def do_freeze(self, _: str) -> None:
        """Stop the leader's PostgreSQL and its Patroni with SIGSTOP, as docker pause does."""
        self.fail(lambda: self.cluster.freeze_leader(with_patroni=True).name, "is frozen")

    def fail(self, fault: Callable[[], str], what: str) -> None:
        # Until one of the others is synchronous, Patroni promotes none of them.
        self.cluster.wait_until(self.cluster.is_whole, "all servers have all data ('heal' helps)", timeout=20)
        name = fault()
        self.say(f"{name} {what}. Waiting for another leader …")
        (former,) = [node for node in self.cluster.nodes if node.name == name]
        self.say(f"{self.cluster.wait_for_leader(other_than=former).name} leads. 'heal' lets {name} return.")

    def do_heal(self, _: str) -> None:
        """Start and continue whatever does not run, and wait until all servers have all data."""
        self.cluster.heal()
        self.do_list("")

    def do_asynchronous(self, _: str) -> None:
        """Turn synchronous_mode off: a commit does not wait for another server."""
        self.cluster.configure(synchronous_mode=False)

    def do_synchronous(self, _: str) -> None:
        """Turn synchronous_mode on: a commit waits until another server has it."""
        self.cluster.configure(synchronous_mode=True)

    def do_quit(self, _: str) -> bool:
        """Stop everything and remove it."""
        return True

    do_EOF = do_quit  # noqa: N815  # the name that cmd gives the end of the input


def main() -> None:
    try:
        programs = find_or_install()
    except ProgramMissing as missing:
        sys.exit(str(missing))
    cluster = Cluster.start(programs, ports=PORTS)
    try:
        console = Console(cluster)
        addresses = {"url": cluster.url(), "haproxy": cluster.haproxy_url(), "rest_port": cluster.nodes[0].rest_port}
        console.say(ADDRESSES.format(**addresses, folder=cluster.folder))
        console.do_list("")
        console.cmdloop("'help' lists the commands, 'quit' stops and removes everything.")
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
