"""The same load on Flower's gRPC engine: a server, N client processes on loopback, FedAvg, echo with a small change.

  python flower_grpc.py CLIENTS MIB ROUNDS PORT     the server; it starts its clients and ends them
  python flower_grpc.py --client NUMBER PORT        one client

The server prints a JSON object a line: {"round", "seconds", "peakMib"}; seconds from handing out to the new global
parameters, peakMib the server process alone. Needs flwr and numpy.
"""

import json
import os
import subprocess
import sys
import time

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

import numpy as np

TENSORS = 8


def client(number: int, port: int) -> None:
    from flwr.client import NumPyClient, start_client

    class Echo(NumPyClient):
        def get_parameters(self, config):
            return []

        def fit(self, parameters, config):
            # The last value of the last tensor, as our own swarm does: every update differs, nothing is computed.
            changed = [*parameters[:-1], parameters[-1].copy()]
            changed[-1].flat[-1] = number / 1024
            return changed, 10, {}

    start_client(
        server_address=f"127.0.0.1:{port}",
        client=Echo().to_client(),
        insecure=True,
        max_retries=60,
        max_wait_time=120,
    )


def peak_mib() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def server(clients: int, mib: int, rounds: int, port: int) -> None:
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerConfig, start_server
    from flwr.server.strategy import FedAvg

    class Timed(FedAvg):
        started = 0.0

        def configure_fit(self, server_round, parameters, client_manager):
            instructions = super().configure_fit(server_round, parameters, client_manager)
            Timed.started = time.perf_counter()
            return instructions

        def aggregate_fit(self, server_round, results, failures):
            if failures or len(results) != clients:
                raise RuntimeError(f"{len(results)} of {clients} results, {failures[:1]}")
            result = super().aggregate_fit(server_round, results, failures)
            seconds = time.perf_counter() - Timed.started
            print(json.dumps({"round": server_round, "seconds": seconds, "peakMib": peak_mib()}), flush=True)
            return result

    count = mib * 2**20 // 4 // TENSORS
    tensors = [np.full((count // 256, 256), 0.5, dtype=np.float32) for _ in range(TENSORS)]
    command = [sys.executable, os.path.abspath(__file__), "--client"]
    children = [
        subprocess.Popen([*command, str(k), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for k in range(clients)
    ]
    try:
        strategy = Timed(
            min_fit_clients=clients,
            min_available_clients=clients,
            fraction_evaluate=0.0,
            min_evaluate_clients=0,
            initial_parameters=ndarrays_to_parameters(tensors),
        )
        start_server(
            server_address=f"127.0.0.1:{port}", config=ServerConfig(num_rounds=rounds), strategy=strategy
        )
    finally:
        for child in children:
            child.kill()


if __name__ == "__main__":
    if sys.argv[1] == "--client":
        client(int(sys.argv[2]), int(sys.argv[3]))
    else:
        server(*map(int, sys.argv[1:5]))
