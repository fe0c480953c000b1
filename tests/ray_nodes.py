"""A real Ray cluster on this machine: prints a line of JSON, and ends when stdin closes."""

import json
import os
import sys

from ray.cluster_utils import Cluster

NODES = {
    "one": {"num_cpus": 2, "resources": {"special": 1}, "labels": {"zone": "a"}},
    "two": {"num_cpus": 3},
}


def raylet(node):
    return node.all_processes["raylet"][0].process.pid


def main():
    cluster = Cluster(
        initialize_head=True, head_node_args={"include_dashboard": False, **NODES["one"]}
    )
    try:
        nodes = {"one": cluster.head_node, "two": cluster.add_node(**NODES["two"])}
        description = {
            name: {"id": node.node_id, "raylet": raylet(node)} for name, node in nodes.items()
        }
        print(json.dumps({"address": cluster.address, "nodes": description}), flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    os.setpgid(0, 0)
    main()
