#!/usr/bin/env python3
"""Writes what a cluster on loopback is configured with: the components' files, etcd's keys, the
SQL that makes the examples usable, and the addresses for whoever calls it.

    configure.py 26|24.09 RUN FIXTURES [--record]

Starts nothing and needs the standard library only. RUN/conf/ports.sh keeps the ports from one call
to the next.
"""

import json
import re
import socket
import sys
import uuid
from pathlib import Path

HOST = "127.0.0.1"
FIRST_PORT, LAST_PORT = 19200, 29200
PORTS = (
    "postgres redis etcd etcd_peer "
    "manager manager_internal manager_monitor manager_monitor_web "
    "storage storage_manager storage_internal storage_monitor storage_monitor_web "
    "agent agent_internal agent_socket agent_watcher agent_monitor agent_monitor_web agent_metadata "
    "web manager_front storage_front web_front"
).split()

DATABASE = "backend"
VOLUME = "local:volume1"
REGISTRY = "registry.invalid"  # never resolves, and need not: the agent pulls nothing
IMAGE = f"{REGISTRY}/stable/python:3.9-ubuntu20.04"
SHARED_SECRET = "between-manager-and-storage-of-a-throw-away-cluster"
VOLUME_RIGHTS = [
    "create-vfolder",
    "modify-vfolder",
    "delete-vfolder",
    "mount-in-session",
    "upload-file",
    "download-file",
    "invite-others",
    "set-user-specific-permission",
]
IMAGE_LABELS = {
    "ai.backend.kernelspec": "1",
    "ai.backend.role": "COMPUTE",
    "ai.backend.base-distro": "ubuntu20.04",
    "ai.backend.runtime-type": "python",
    "ai.backend.runtime-path": "/usr/bin/python",
    "ai.backend.features": "batch query uid-match user-input",
    "ai.backend.service-ports": "ipython:pty:3000,jupyter:http:8091",
    "ai.backend.resource.min.cpu": "1",
    "ai.backend.resource.min.mem": "64m",
}


# ---- ports --------------------------------------------------------------------------------------


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_ports(file):
    """The ports of the last call, or else the first block of ports that nobody listens on."""
    if file.exists():
        lines = (line.split("=") for line in file.read_text().split())
        return {name.removeprefix("port_"): int(port) for name, port in lines}
    for first in range(FIRST_PORT, LAST_PORT, 32):
        block = {name: first + offset for offset, name in enumerate(PORTS)}
        if all(is_free(port) for port in block.values()):
            file.write_text("".join(f"port_{name}={port}\n" for name, port in block.items()))
            return block
    sys.exit("no free block of ports")


# ---- files --------------------------------------------------------------------------------------


def toml(table, path=()):
    """A dictionary as TOML. Pairs become addresses, the rest is what JSON makes of it."""
    lines = [f"[{'.'.join(path)}]"] if path else []
    tables = ""
    for key, value in table.items():
        key = key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)
        if isinstance(value, dict):
            tables += toml(value, (*path, key))
        elif isinstance(value, tuple):
            lines.append(f"{key} = {{ host = {json.dumps(value[0])}, port = {value[1]} }}")
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "".join(f"{line}\n" for line in lines) + tables


def logging():
    packages = {"": "WARNING", "aiotools": "INFO", "aiohttp": "INFO", "ai.backend": "INFO"}
    console = {"colored": False, "format": "verbose"}
    return {"level": "INFO", "drivers": ["console"], "pkg-ns": packages, "console": console}


def etcd_client(ports):
    return {"namespace": "local", "addr": (HOST, ports["etcd"]), "user": "", "password": ""}


def manager(run, ports, new):
    internal = {
        "internal-addr": (HOST, ports["manager_internal"]),
        "announce-addr": (HOST, ports["manager"]),
        "announce-internal-addr": (HOST, ports["manager_internal"]),
    }
    return {
        "etcd": etcd_client(ports),
        "db": {
            "type": "postgresql",
            "addr": (HOST, ports["postgres"]),
            "name": DATABASE,
            "user": "postgres",
            "password": "unused",
        },
        "manager": {
            "num-proc": 1,
            "service-addr": (HOST, ports["manager"]),
            **(internal if new else {}),
            "ssl-enabled": False,
            "heartbeat-timeout": 40.0,
            "ipc-base-path": f"{run}/ipc",
            "rpc-auth-manager-keypair": f"{run}/conf/manager.key_secret",
            "pid-file": f"{run}/var/manager.pid",
            "event-loop": "uvloop",
            "distributed-lock": "filelock",
            "aiomonitor-termui-port": ports["manager_monitor"],
            "aiomonitor-webui-port": ports["manager_monitor_web"],
            "disabled-plugins": [],
            "hide-agents": False,
        },
        "docker-registry": {"ssl-verify": False},
        "debug": {"enabled": False},
        "logging": logging(),
    }


def agent(run, ports, new):
    group = {
        "service-addr": (HOST, ports["agent_internal"]),
        "announce-addr": (HOST, ports["agent_internal"]),
        "initial-resource-group-name": "default",
    }
    return {
        "etcd": etcd_client(ports),
        "agent": {
            "backend": "dummy",
            "id": "i-testerd",
            "rpc-listen-addr": (HOST, ports["agent"]),
            **(group if new else {"scaling-group": "default"}),
            "agent-sock-port": ports["agent_socket"],
            "pid-file": f"{run}/var/agent.pid",
            "event-loop": "uvloop",
            "ipc-base-path": f"{run}/ipc",
            "var-base-path": f"{run}/var",
            "mount-path": f"{run}/volumes",
            "image-commit-path": f"{run}/commits",
            "cohabiting-storage-proxy": True,
            "allow-compute-plugins": [],
            "metadata-server-bind-host": HOST,
            "metadata-server-port": ports["agent_metadata"],
            "aiomonitor-termui-port": ports["agent_monitor"],
            "aiomonitor-webui-port": ports["agent_monitor_web"],
        },
        "container": {
            "port-range": [30000, 31000],
            "kernel-uid": -1,
            "kernel-gid": -1,
            "bind-host": HOST,
            "sandbox-type": "docker",
            "stats-type": "docker",
            "scratch-type": "hostdir",
            "scratch-root": f"{run}/scratches",
            "scratch-size": "1G",
        },
        "watcher": {
            "service-addr": (HOST, ports["agent_watcher"]),
            "ssl-enabled": False,
            "target-service": "none.service",
            "soft-reset-available": False,
        },
        "resource": {
            "reserved-cpu": 0,
            "reserved-mem": "64M",
            "reserved-disk": "64M",
            "affinity-policy": "INTERLEAVED",
        },
        "debug": {"enabled": False, "skip-container-deletion": False},
        "logging": logging(),
    }


def dummy_agent(new):
    """What the agent without containers pretends: a large machine that does everything quickly."""
    quick = (
        "check-status get-completions get-logs interrupt-kernel start-service start-model-service "
        "shutdown-service get-service-apps accept-file download-file download-single list-files"
    )
    delays = "scan-image pull-image destroy-kernel clean-kernel create-network destroy-network"
    images = " push-image purge-images" if new else ""
    return {
        "agent": {
            "delay": dict.fromkeys((delays + images).split(), 0.05),
            "image": {"already-have": [], "need-to-pull": [], "missing": []},
            "resource": {
                "cpu": {"num-core": 64} if new else {"core-indexes": list(range(64))},
                "memory": {"size": 256 << 30},
            },
        },
        "kernel-creation-ctx": {
            "delay": {
                "prepare-scratch": 0.02,
                "prepare-ssh": 0.02,
                "spawn": 0.05,
                "start-container": 0.2,
                "mount-krunner": 0.02,
            }
        },
        "kernel": {
            "use-fake-code-runner": True,
            "delay": {"commit": 1.0, **dict.fromkeys(quick.split(), 0.02)},
        },
    }


def storage(run, ports, new):
    internal = {"internal-addr": (HOST, ports["storage_internal"])}
    return {
        "etcd": etcd_client(ports),
        "storage-proxy": {
            "node-id": "i-testerd-storage",
            "num-proc": 1,
            "pid-file": f"{run}/var/storage.pid",
            "event-loop": "uvloop",
            "ipc-base-path": f"{run}/ipc",
            "scandir-limit": 1000,
            "max-upload-size": "10g",
            "secret": "signs-the-tokens-of-a-throw-away-cluster-and-nothing-else",
            "session-expire": "1d",
            "aiomonitor-termui-port": ports["storage_monitor"],
            "aiomonitor-webui-port": ports["storage_monitor_web"],
            "use-watcher": False,
        },
        "api": {
            "client": {"service-addr": (HOST, ports["storage"]), "ssl-enabled": False},
            "manager": {
                "service-addr": (HOST, ports["storage_manager"]),
                **(internal if new else {}),
                "ssl-enabled": False,
                "secret": SHARED_SECRET,
            },
        },
        "debug": {"enabled": False, "asyncio": False, "log-events": True},
        "volume": {"volume1": {"backend": "vfs", "path": f"{run}/volumes/volume1"}},
        "logging": logging(),
    }


def web_server(run, ports):
    nowhere = f"http://{HOST}:9"
    redis = {"socket_timeout": 5.0, "socket_connect_timeout": 2.0, "reconnect_poll_timeout": 0.3}
    return {
        "service": {"ip": HOST, "port": ports["web"], "wsproxy": {"url": ""}, "mode": "webui"},
        "resources": {},
        "security": {"cookie_secure": False, "request_policies": [], "response_policies": []},
        "environments": {},
        "plugin": {},
        "pipeline": {"endpoint": nowhere, "frontend-endpoint": nowhere},
        "ui": {},
        "api": {
            "domain": "default",
            "endpoint": f"http://{HOST}:{ports['manager']}",
            "text": "testerd",
            "ssl_verify": False,
            "auth_token_name": "sToken",
        },
        "session": {
            "redis": {"addr": f"{HOST}:{ports['redis']}", "redis_helper_config": redis},
            "max_age": 604800,
            "flush_on_startup": False,
            "login_block_time": 1200,
            "login_allowed_fail_count": 10,
            "max_count_for_preopen_ports": 10,
        },
        "webserver": {"ipc-base-path": f"{run}/ipc"},
        "debug": {"enabled": False},
        "apollo-router": {"enabled": False, "endpoint": nowhere},
        "logging": logging(),
    }


def alembic(ports):
    address = f"postgresql+asyncpg://postgres:unused@{HOST}:{ports['postgres']}/{DATABASE}"
    return (
        f"[alembic]\nscript_location = ai.backend.manager.models:alembic\nsqlalchemy.url = {address}\n"
        "[loggers]\nkeys = root\n[handlers]\nkeys = console\n[formatters]\nkeys = plain\n"
        "[logger_root]\nlevel = WARN\nhandlers = console\n"
        "[handler_console]\nclass = StreamHandler\nargs = (sys.stderr,)\nlevel = NOTSET\nformatter = plain\n"
        "[formatter_plain]\nformat = %(levelname)s %(name)s %(message)s\n"
    )


def etcd_keys(ports, recorded):
    client = ports["storage_front" if recorded else "storage"]
    return {
        "config/redis/addr": f"{HOST}:{ports['redis']}",
        "config/api/allow-openapi-schema-introspection": "no",
        "config/api/allow-graphql-schema-introspection": "no",
        "volumes/_types/user": "",
        "volumes/_types/group": "",
        "volumes/default_host": VOLUME,
        "volumes/exposed_volume_info": "percentage",
        "volumes/proxies/local/client_api": f"http://{HOST}:{client}",
        "volumes/proxies/local/manager_api": f"http://{HOST}:{ports['storage_manager']}",
        "volumes/proxies/local/secret": SHARED_SECRET,
        "volumes/proxies/local/ssl_verify": "false",
    }


# ---- database -----------------------------------------------------------------------------------


def quoted(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'"


def insert(table, row):
    values = ", ".join(quoted(value) for value in row.values())
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values});"


def setup_sql(new):
    """The examples know no volume, no image, and too few containers for a cluster of four."""
    image = str(uuid.uuid5(uuid.NAMESPACE_URL, IMAGE))
    registry = str(uuid.uuid5(uuid.NAMESPACE_URL, REGISTRY))
    statements = [
        f"UPDATE {table} SET allowed_vfolder_hosts = {quoted({VOLUME: VOLUME_RIGHTS})};"
        for table in ("domains", "groups", "keypair_resource_policies")
    ]
    statements += [
        f"UPDATE domains SET allowed_docker_registries = array_append(allowed_docker_registries, {quoted(REGISTRY)});",
        "UPDATE keypair_resource_policies SET max_concurrent_sessions = 100, max_containers_per_session = 4;",
        "UPDATE user_resource_policies SET max_vfolder_count = 0;",
        insert(
            "container_registries",
            {
                "id": registry,
                "url": f"http://{REGISTRY}",
                "registry_name": REGISTRY,
                "type": "docker",
                "project": "stable",
                "ssl_verify": False,
                "is_global": True,
            },
        ),
        insert(
            "images",
            {
                "id": image,
                "name": IMAGE,
                "project": "stable",
                "image": "stable/python",
                "tag": "3.9-ubuntu20.04",
                "registry": REGISTRY,
                "registry_id": registry,
                "architecture": "x86_64",
                "config_digest": "sha256:" + "0" * 64,
                "size_bytes": 1 << 20,
                "is_local": False,
                "type": "COMPUTE",
                "labels": IMAGE_LABELS,
                "resources": {"cpu": {"min": "1", "max": None}, "mem": {"min": str(64 << 20), "max": None}},
                **({"status": "ALIVE"} if new else {}),
            },
        ),
        insert("image_aliases", {"id": str(uuid.uuid5(uuid.UUID(image), "python")), "alias": "python", "image": image}),
    ]
    if not new:
        statements.append(
            'UPDATE users SET main_access_key = k.access_key FROM keypairs k WHERE k."user" = users.uuid;'
        )
    return "\n".join(statements) + "\n"


def examples(fixtures, new):
    """All example fixtures as one: each start of the manager's command line takes seconds."""
    names = (
        "container-registries-harbor users keypairs resource-slot-types resource-presets "
        "runtime-variants runtime-variant-presets roles role-presets retention-policies"
    )
    merged = {}
    for name in names.split():
        file = fixtures / f"example-{name}.json"
        if file.exists():
            for table, rows in json.loads(file.read_text()).items():
                if not table.startswith("__"):
                    merged.setdefault(table, []).extend(rows)
    if new:  # its own loader refuses the text that stands in the example
        for preset in merged["resource_presets"]:
            if "shared_memory" in preset:
                preset["shared_memory"] = int(preset["shared_memory"])
    return merged


# ---- addresses ----------------------------------------------------------------------------------


def environment(ports, recorded, user, key_pair):
    """For the shell: where the cluster is, and one of the example users. Published values, no secrets."""
    front = "_front" if recorded else ""
    values = {
        "BACKENDAI_ENDPOINT": f"http://{HOST}:{ports['manager' + front]}",
        "BACKENDAI_WEB_ENDPOINT": f"http://{HOST}:{ports['web' + front]}",
        "BACKENDAI_ACCESS_KEY": key_pair["access_key"],
        "BACKENDAI_SECRET_KEY": key_pair["secret_key"],
        "BACKENDAI_USERNAME": user["email"],
        "BACKENDAI_PASSWORD": user["password"],
        "BACKENDAI_IMAGE": IMAGE,
    }
    return "".join(f"export {name}={value}\n" for name, value in values.items())


def main():
    line, run, fixtures = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3])
    recorded, new = "--record" in sys.argv, line == "26"
    conf = run / "conf"
    for folder in ("conf", "ipc", "var", "scratches", "commits", "volumes/volume1"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    (run / "volumes/volume1/version.txt").write_text("3\n")

    ports = choose_ports(conf / "ports.sh")
    for name, content in (
        ("manager.toml", manager(run, ports, new)),
        ("agent.toml", agent(run, ports, new)),
        ("agent.dummy.toml", dummy_agent(new)),
        ("storage-proxy.toml", storage(run, ports, new)),
        ("webserver.conf", web_server(run, ports)),
    ):
        (conf / name).write_text(toml(content))
    (conf / "alembic.ini").write_text(alembic(ports))
    keys = etcd_keys(ports, recorded).items()
    (conf / "etcd.tsv").write_text("".join(f"/sorna/local/{key}\t{value}\n" for key, value in keys))
    (conf / "setup.sql").write_text(setup_sql(new))
    merged = examples(fixtures, new)
    (conf / "fixture.json").write_text(json.dumps(merged))
    users = {user["uuid"]: user for user in merged["users"]}
    for key_pair in merged["keypairs"]:
        user = users[key_pair["user"]]
        text = environment(ports, recorded, user, key_pair)
        (conf / f"env-{user['username']}.sh").write_text(text)


if __name__ == "__main__":
    main()
