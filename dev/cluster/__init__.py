"""The local Kubernetes of development and tests: `python -m dev.cluster up|down|status|env|node-…`.

Programs and tests ask for the running one with `current()`; see dev/README.md.
"""

from dev.cluster.current import Cluster, current

__all__ = ["Cluster", "current"]
