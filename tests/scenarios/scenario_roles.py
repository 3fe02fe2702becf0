#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal of this test: whichever process dies, is restarted or drains under load, whoever was not concerned goes on, new
connections are served at once, and what was lost never looks like a clean end."""
import os
import select
import signal
import socket

from portseal_testing import (Load, Scenario, cpu_seconds_of, descriptors_of, free_port, is_alive, main, read_all,
                              receive, wait_until)


class Roles(Scenario):
    def loads(self, port, n, size=16384):
        loads = [Load(self.connect(port), size) for _ in range(n)]
        Load.wait_for_rounds(loads, 2)
        return loads


class KilledRoles(Roles):
    def assert_new_one_works(self, port):
        local = self.connect(port)
        local.sendall(b"new")
        self.assertEqual(receive(local, 3), b"new")
        local.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(local), b"")

    def kill_worker(self, victim, loads, port):
        """Kills the busier of two workers under load: only what it carried is lost, and never by a clean end."""
        workers = victim.role_pids("worker")
        self.assertEqual(len(workers), 2)
        os.kill(max(workers, key=descriptors_of), signal.SIGKILL)
        self.assert_new_one_works(port)
        victim.wait_for("event=role-died role=worker index=\\d signal=9")
        victim.wait_for("event=role-restarted")
        self.assert_new_one_works(port)
        Load.wait_for_rounds(loads, 2)
        outcomes = Load.finish(loads)
        lost = outcomes.pop("ConnectionResetError", 0) + outcomes.pop("BrokenPipeError", 0)
        self.assertEqual(outcomes.pop("done", 0), len(loads) - lost)
        self.assertEqual(outcomes, {})
        self.assertGreater(lost, 0)
        return lost

    def test_a_killed_worker_of_the_relay_under_load_takes_only_its_own(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        lost = self.kill_worker(relay, self.loads(tunnel.port, 50), tunnel.port)
        self.assertEqual(lost, int(relay.wait_for(r"event=role-died .*connections=(\d+)").group(1)))
        self.assertLess(lost, 50)

    def test_a_killed_worker_of_a_tunnel_under_load_takes_only_its_own(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port, extra="processes = { workers = 2; gatekeepers = 2; };")
        self.kill_worker(tunnel, self.loads(tunnel.port, 50), tunnel.port)

    def test_gatekeepers_yield_to_workers_also_after_a_restart(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)

        def priorities(process, kind):
            return {os.getpriority(os.PRIO_PROCESS, pid) for pid in process.role_pids(kind)}

        for process in (relay, tunnel):
            # Niceness counts within a session alone, where the kernel groups by them.
            sessions = [os.getsid(pid) for pid in process.role_pids("worker")]
            self.assertEqual(sorted(sessions), sorted(process.role_pids("worker")))
            ours = os.getpriority(os.PRIO_PROCESS, process.pid)
            lower = {min(ours + 10, 19)}
            self.assertEqual((priorities(process, "worker"), priorities(process, "gatekeeper")), ({ours}, lower))
            os.kill(process.role_pids("gatekeeper")[0], signal.SIGKILL)
            process.wait_for("event=role-restarted")
            wait_until(lambda p=process: priorities(p, "gatekeeper") == lower, "the new gatekeeper yields, too")

    def test_killed_gatekeepers_of_both_under_load_disturb_nobody(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        loads = self.loads(tunnel.port, 50)
        for program in (relay, tunnel):
            n = len(program.role_pids("gatekeeper"))
            for pid in program.role_pids("gatekeeper"):
                os.kill(pid, signal.SIGKILL)
            program.wait_for("event=role-restarted", count=n)
            self.assert_new_one_works(tunnel.port)
        Load.wait_for_rounds(loads, 2)
        self.assertEqual(Load.finish(loads), {"done": 50})

    def orphan(self, victim, loads):
        """Kills the supervisor: its roles finish what they carry, idle without spinning, and end."""
        roles = [pid for pid, _ in victim.children()]
        gatekeepers = victim.role_pids("gatekeeper")
        self.assertEqual((len(roles), len(gatekeepers)), (4, 2))
        victim.signal(signal.SIGKILL)
        victim.child.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in gatekeepers), "the gatekeepers end")
        Load.wait_for_rounds(loads, 4)
        self.assertEqual(Load.finish(loads), {"done": len(loads)})
        wait_until(lambda: not any(is_alive(pid) for pid in roles), "the roles end by themselves")

    def test_a_killed_supervisor_of_the_relay_lets_its_roles_finish(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        loads = self.loads(tunnel.port, 10)
        self.orphan(relay, loads)
        with self.assertRaises(ConnectionRefusedError):
            self.connect(relay.port)

    def test_roles_of_a_killed_supervisor_do_not_spin(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        loads = self.loads(tunnel.port, 2)
        quiet = self.connect(tunnel.port)
        quiet.sendall(b"here")
        self.assertEqual(receive(quiet, 4), b"here")
        self.assertEqual(Load.finish(loads), {"done": 2})
        roles = [pid for program in (relay, tunnel) for pid, _ in program.children()]
        for program in (relay, tunnel):
            program.signal(signal.SIGKILL)
            program.child.wait()
        wait_until(lambda: len([pid for pid in roles if is_alive(pid)]) <= 2, "all but the busy workers end")
        left = [pid for pid in roles if is_alive(pid)]
        before = sum(cpu_seconds_of(pid) for pid in left)
        select.select([quiet], [], [], 0.5)
        self.assertLess(sum(cpu_seconds_of(pid) for pid in left) - before, 0.2)
        quiet.sendall(b"still")
        self.assertEqual(receive(quiet, 5), b"still")
        quiet.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(quiet), b"")
        wait_until(lambda: not any(is_alive(pid) for pid in roles), "the roles end by themselves")

    def test_a_killed_supervisor_of_a_tunnel_lets_its_roles_finish(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port, extra="processes = { workers = 2; gatekeepers = 2; };")
        loads = self.loads(tunnel.port, 10)
        self.orphan(tunnel, loads)
        with self.assertRaises(ConnectionRefusedError):
            self.connect(tunnel.port)


class Restarts(Roles):
    def test_a_tunnel_survives_a_restart_of_its_relay(self):
        config = self.relay_config({"app": (self.app().target, "{ any = true; }", "")},
                                   listen='{ address = "127.0.0.1:%d"; }' % free_port())
        relay = self.relay(config=config)
        tunnel = self.tunnel(relay.port)
        self.assertEqual(Load.finish(self.loads(tunnel.port, 2)), {"done": 2})
        relay.signal(signal.SIGTERM)
        self.assertEqual(relay.wait(), 0)
        with self.assertRaises(ConnectionResetError):
            self.connect(tunnel.port).recv(1)
        tunnel.wait_for("event=refused reason=relay-not-reached")
        self.relay(config=config)
        self.assertEqual(Load.finish(self.loads(tunnel.port, 2)), {"done": 2})

    def drain(self, victim, loads, port):
        victim.signal(signal.SIGTERM)
        victim.wait_for("event=draining")
        wait_until(lambda: not self.accepts(port), "the port closes")
        Load.wait_for_rounds(loads, 2)
        self.assertEqual(Load.finish(loads), {"done": len(loads)})
        self.assertEqual(victim.wait(), 0)
        self.assertEqual(len(victim.find("event=closed")), len(victim.find("event=accepted")))

    def accepts(self, port):
        try:
            self.connect(port).close()
        except ConnectionRefusedError:
            return False
        return True

    def test_a_relay_that_drains_under_load_loses_nothing(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        self.drain(relay, self.loads(tunnel.port, 20), relay.port)

    def test_a_tunnel_that_drains_under_load_loses_nothing(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        self.drain(tunnel, self.loads(tunnel.port, 20), tunnel.port)

    def test_connections_that_begin_while_draining_are_carried_or_refused_never_lost(self):
        relay = self.relay(self.app().target)
        tunnel = self.tunnel(relay.port)
        loads = self.loads(tunnel.port, 4)
        begun = [self.connect(tunnel.port) for _ in range(20)]
        tunnel.signal(signal.SIGTERM)
        loads += [Load(local) for local in begun]
        Load.wait_for_rounds(loads, 2)
        self.assertEqual(Load.finish(loads), {"done": 24})
        self.assertEqual(tunnel.wait(), 0)


if __name__ == "__main__":
    main()
