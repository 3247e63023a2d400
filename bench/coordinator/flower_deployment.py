"""The same load on Flower's current deployment: a SuperLink, N SuperNodes on loopback, FedAvg, echo with a small change.

  python flower_deployment.py CLIENTS MIB ROUNDS PORT

Prints a JSON object a line: {"round", "seconds", "peakMib"}; seconds from handing out to the new global arrays, as the
ServerApp sees them; peakMib is the SuperLink and the processes below it together. Needs flwr and numpy.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CLIENTS, MIB, ROUNDS, PORT = map(int, sys.argv[1:5])
TENSORS = 8
BIN = pathlib.Path(sys.executable).parent

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "echo"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "fedloom"
[tool.flwr.app.components]
serverapp = "echo.apps:server"
clientapp = "echo.apps:client"
[tool.flwr.app.config]
clients = 2
mib = 1
rounds = 2
log = ""
"""

APPS = '''
import json, os, time
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()

@client.train()
def train(message, context):
    arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
    last = arrays["t7"].copy()
    last.flat[-1] = os.getpid() / 2**20
    arrays["t7"] = last
    content = {"arrays": ArrayRecord({name: Array(a) for name, a in arrays.items()}), "metrics": MetricRecord({"num-examples": 10})}
    return Message(RecordDict(content), reply_to=message)

class Timed(FedAvg):
    def configure_train(self, server_round, arrays, config, grid):
        self.started = time.perf_counter()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        errors = sum(reply.has_error() for reply in replies)
        result = super().aggregate_train(server_round, replies)
        line = {"round": server_round, "seconds": time.perf_counter() - self.started, "replies": len(replies), "errors": errors}
        with open(self.log, "a") as log:
            log.write(json.dumps(line) + "\\n")
        return result

server = ServerApp()

@server.main()
def main(grid, context):
    config = context.run_config
    clients = int(config["clients"])
    count = int(config["mib"]) * 2**20 // 4 // 8
    arrays = ArrayRecord({f"t{i}": Array(np.full((count // 256, 256), 0.5, dtype=np.float32)) for i in range(8)})
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    strategy.log = config["log"]
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=int(config["rounds"]), timeout=3600)
'''


def processes_below(root: int) -> set[int]:
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            except OSError:
                pass
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def peak_mib(root: int, peaks: dict[int, int]) -> float:
    """Of the process and all below it, also those that have ended since the last look."""
    for pid in processes_below(root):
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            peaks[pid] = max(peaks.get(pid, 0), next(int(l.split()[1]) for l in status.splitlines() if l.startswith("VmHWM")))
        except (OSError, StopIteration):
            pass
    return sum(peaks.values()) / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        app = root / "app"
        (app / "echo").mkdir(parents=True)
        (app / "pyproject.toml").write_text(PROJECT)
        (app / "echo" / "__init__.py").touch()
        (app / "echo" / "apps.py").write_text(APPS)
        log = root / "rounds.jsonl"
        log.touch()
        home = root / "home"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "local"\n[superlink.local]\naddress = "127.0.0.1:{PORT}"\ninsecure = true\n'
        )
        environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        output = open(root / "output.txt", "w")
        children: list[subprocess.Popen] = []

        def start(*command: str) -> subprocess.Popen:
            child = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
            children.append(child)
            return child

        try:
            link = start(
                str(BIN / "flower-superlink"), "--insecure", "--disable-runtime-dependency-installation",
                "--host", "127.0.0.1", "--port", str(PORT),
            )
            time.sleep(10)
            for k in range(CLIENTS):
                start(
                    str(BIN / "flower-supernode"), "--insecure", "--superlink", f"127.0.0.1:{PORT}",
                    "--host", "127.0.0.1", "--port", str(PORT + 10 + k),
                )
            config = f'clients={CLIENTS} mib={MIB} rounds={ROUNDS} log="{log}"'
            start(str(BIN / "flwr"), "run", str(app), "local", "--run-config", config)
            seen, peaks = 0, {}
            while seen < ROUNDS:
                time.sleep(0.2)
                peak = peak_mib(link.pid, peaks)
                if link.poll() is not None:
                    raise RuntimeError((root / "output.txt").read_text()[-2000:])
                for text in log.read_text().splitlines()[seen:]:
                    line = json.loads(text)
                    if line["errors"] or line["replies"] != CLIENTS:
                        raise RuntimeError(f"{line}\n{(root / 'output.txt').read_text()[-2000:]}")
                    print(json.dumps({"round": line["round"], "seconds": line["seconds"], "peakMib": peak}), flush=True)
                    seen += 1
        except KeyboardInterrupt:
            pass
        finally:
            if os.environ.get("FLOWER_OUTPUT"):
                print((root / "output.txt").read_text()[-4000:], file=sys.stderr)
            for child in children:
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


main()
