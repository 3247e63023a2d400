"""One simulated federation in Flower whose clients send back what they were handed, a little changed.

    python flower_echo.py '{"clients": 10, "mib": 16, "rounds": 3}'

Prints one JSON line a round, {"round": n, "at": seconds}; the twin of our-fleet.ts with an echo trainer.
"""
import json
import os
import sys
import time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

SPEC = json.loads(sys.argv[1])
TENSORS, WIDTH = 8, 256

client = ClientApp()


@client.train()
def train(message, context):
    step = np.float32(1e-3 * int(context.node_config["partition-id"]))
    arrays = ArrayRecord({name: Array(array.numpy() + step) for name, array in message.content["arrays"].items()})
    metrics = MetricRecord({"num-examples": 1, "train_loss": 1.0})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


class Timed(FedAvg):
    def aggregate_train(self, server_round, replies):
        result = super().aggregate_train(server_round, list(replies))
        print(json.dumps({"round": server_round, "at": time.perf_counter()}), flush=True)
        return result


server = ServerApp()


@server.main()
def main(grid, context):
    n = SPEC["clients"]
    size = int(SPEC["mib"] * 2**20) // 4 // TENSORS
    rng = np.random.default_rng(0)
    arrays = ArrayRecord(
        {f"t{i}": Array(rng.standard_normal(size, dtype=np.float32).reshape(-1, WIDTH)) for i in range(TENSORS)}
    )
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=n, min_available_nodes=n)
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=SPEC["rounds"], timeout=3600)


run_simulation(
    server_app=server,
    client_app=client,
    num_supernodes=SPEC["clients"],
    backend_config={
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"include_dashboard": False, "num_cpus": os.cpu_count()},
    },
)
