"""Let Ray start on a slow or busy machine.

Two processes of every Ray node, the agents, are Python programs that import many modules. The raylet waits 15 seconds
for the files in which the agents write their ports, and then aborts; no setting changes that (Ray 2.55). An agent needs
longer if its modules are read from a network drive for the first time, or if other programs use the processor. Here the
ports are chosen before the raylet starts, so that it does not wait. It repeats its requests until an agent answers.
"""

from pathlib import Path
from typing import Any

from medrlvr.training.patching import Patch, Replacement
from medrlvr.training.ports import free_ports

AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Ray's parameters for the ports of the agents."""


def give_agents_ports(parameters: Any, session: str, node: str) -> None:
    """Give a new node's agents ports, and write the files from which the raylet reads them.

    Args:
        parameters: Ray's parameters of the node; ports that they have are kept.
        session: folder of the node's session.
        node: Ray's identifier of the node.
    """
    ports = dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True))
    parameters.update_if_absent(**ports)
    for name in ports:
        Path(session, f"{name}_{node}").write_text(str(getattr(parameters, name)), encoding="utf-8")


_GIVEN = """\
        ray_params.update_if_absent(
            metrics_agent_port=ray_params.metrics_agent_port or 0,
"""

PATCHES = {
    "ray._private.node": Patch(
        [
            Replacement(
                _GIVEN,
                f"""\
        if not connect_only:
            from {__name__} import give_agents_ports

            give_agents_ports(ray_params, self._session_dir, self._node_id)

{_GIVEN}""",
            )
        ]
    )
}
"""Module -> patch."""
