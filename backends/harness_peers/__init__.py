"""What the peers share: other libraries' layers as backends. Importing this imports no library.

A peer runs the library's own layers, unmodified, with weights converted from the core's when they
are loaded. Each is a package of its own that depends on this one; nothing of the core does.
"""

from harness_peers.backend import Peer, why_not
from harness_peers.jax_peer import JaxPeer

__all__ = ["JaxPeer", "Peer", "why_not"]
