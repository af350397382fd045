#!/usr/bin/env python3
"""Starts Backend.AI's agent with two gaps of its container-less ("dummy") backend filled.

1. That backend answers every execution with "not-implemented", which the manager turns into an
   error 500, and a batch session makes it spin for ever. Here the code is run by a child process
   without rights, and the answers have the shape and the pace of a real kernel's: what takes longer
   than the caller's flush time is told in parts, as "continued".
2. It lists no containers, so that every minute a sweep forgets the kernels that run. Here the sweep
   does nothing and each kernel counts as present.

All else (files, logs, mounts, services) stays the pretence that it is. For loopback only: whoever
may execute code on such a cluster executes it on this host.
"""

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time

from ai.backend.agent.dummy.agent import DummyAgent

LIMIT = 60.0  # seconds, of one execution
NOBODY = 65534
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable

# As a kernel does it: the value of a last expression is shown, None is not.
INTERPRETER = """
import ast, sys, traceback
tree = ast.parse(sys.stdin.read())
last = None
if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
names = {"__name__": "__main__"}
try:
    exec(compile(tree, "<input>", "exec"), names)
    if last is not None:
        value = eval(compile(last, "<input>", "eval"), names)
        if value is not None:
            sys.stdout.write(repr(value))
except SystemExit:
    traceback.print_exc()
    raise
"""


class Run:
    """One execution: a child whose output goes to files, so that reading it never waits."""

    def __init__(self, mode, code, options):
        batch = mode == "batch"
        argv = ["/bin/sh", "-c", options.get("exec") or "true"] if batch else [PYTHON, "-uIc", INTERPRETER]
        given = tempfile.TemporaryFile()
        given.write(b"" if batch else code.encode())
        given.seek(0)
        self.output = {"stdout": tempfile.TemporaryFile(), "stderr": tempfile.TemporaryFile()}
        self.told = dict.fromkeys(self.output, 0)
        rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        self.child = subprocess.Popen(
            argv, stdin=given, cwd="/tmp", env={"PATH": "/usr/bin:/bin"}, **self.output, **rights
        )
        given.close()
        self.deadline = time.monotonic() + LIMIT

    async def state(self, patience):
        """How it stands after `patience` seconds at most, and its exit code."""
        until = time.monotonic() + patience
        while self.child.poll() is None:
            if time.monotonic() > self.deadline:
                self.child.kill()
                self.child.wait()
                return "exec-timeout", None
            if time.monotonic() > until:
                return "continued", None
            await asyncio.sleep(0.02)
        return "finished", self.child.returncode

    def console(self):
        """What was written since the last call."""
        items = []
        for name, file in self.output.items():
            text = os.pread(file.fileno(), 1 << 20, self.told[name])
            self.told[name] += len(text)
            if text:
                items.append([name, text.decode(errors="replace")])
        return items

    def close(self):
        for file in self.output.values():
            file.close()


runs = {}


async def execute(self, session_id, kernel_id, run_id, mode, text, *, opts, api_version, flush_timeout):
    self.kernel_registry[kernel_id]  # the caller expects a KeyError for a kernel that is not there
    run_id = run_id or secrets.token_hex(8)
    answer = {"runId": run_id, "status": "finished", "exitCode": 0, "options": None, "files": [], "console": []}
    key = (kernel_id, run_id)
    if mode in ("query", "batch"):
        runs[key] = Run(mode, text or "", opts or {})
    run = runs.get(key)
    if run is None:
        return answer
    answer["status"], answer["exitCode"] = await run.state(flush_timeout or 2.0)
    answer["console"] = run.console()
    if answer["status"] != "continued":
        runs.pop(key).close()
    return answer


async def no_sweep(self):
    await asyncio.Event().wait()


async def all_present(self):
    present = {kernel_id: True for kernel_id in self._agent.kernel_registry}
    if present:
        await self._valkey_schedule_client.update_kernel_presence_batch(present)


def fill_gaps():
    DummyAgent.execute = execute
    if not hasattr(DummyAgent, "_clean_kernel_registry_loop"):
        return  # 24.09 has no such sweep
    from ai.backend.agent.observer.kernel_presence import KernelPresenceObserver

    DummyAgent._clean_kernel_registry_loop = no_sweep
    KernelPresenceObserver.observe = all_present


if __name__ == "__main__":
    from ai.backend.agent.server import main

    fill_gaps()
    sys.exit(main())
