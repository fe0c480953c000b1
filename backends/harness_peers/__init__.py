"""The base of the peers: other libraries' layers as backends. Importing this imports no library.

A peer runs the library's own layers, unmodified, with weights converted from the core's when they
are loaded. Each peer is a separate package that depends on this one; the core does not.
"""

from harness_peers.backend import Peer
from harness_peers.jax_peer import JaxPeer

__all__ = ["JaxPeer", "Peer"]
