#!/usr/bin/env python3
"""Times and memory of `imgdelta job` with a registry in another process: scans of many repositories, and pushes in quick succession.

    cargo build --release -p imgdelta-cli --features job
    cargo build --release -p imgdelta-testkit --example many_repositories
    benches/job.py scans [--repositories 10000] [--tags 5] [--milliseconds 5]
    benches/job.py pushes [--bytes 60000000] [--pushes 12] [--seconds 23]

Both take --imgdelta PROGRAM and --registry PROGRAM. Counts are asserted by tests (crates/imgdelta-job/tests/it/scale.rs and pushes.rs); times
are printed only, with the load of the machine. Standard library only.
"""
import argparse, json, os, re, subprocess, tempfile, threading, time, urllib.request


class Registry:
    def __init__(self, program, *words):
        command = [program, *map(str, words)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.host = self.process.stdout.readline().strip()

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def count(self):
        return list(map(int, self.ask("count").split()))

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Service:
    """`imgdelta job serve`, with the events of its log and the time of each."""

    def __init__(self, imgdelta, config):
        self.process = subprocess.Popen([imgdelta, "job", "serve", "--config", config], stderr=subprocess.PIPE, text=True)
        self.events, self.address = [], None
        threading.Thread(target=self.read, daemon=True).start()
        wait(lambda: self.address)

    def read(self):
        for line in self.process.stderr:
            event = json.loads(line)
            self.events.append((time.monotonic(), event))
            fields = event.get("fields", event)
            if fields.get("message") == "serving":
                self.address = fields["address"]

    def metric(self, name):
        text = urllib.request.urlopen(f"http://{self.address}/metrics").read().decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)[1])

    def notify(self, repository, tag):
        body = {"events": [{"action": "push", "target": {"repository": repository, "tag": tag}}]}
        request = urllib.request.Request(f"http://{self.address}/notify", json.dumps(body).encode())
        assert urllib.request.urlopen(request).status == 202

    def published(self, base, target):
        """The time at which the delta between two tags was published."""
        for at, event in list(self.events):
            fields = event.get("fields", event)
            names = fields.get("base_tag"), fields.get("target_tag"), fields.get("outcome")
            if names == (base, target, "published"):
                return at

    def stop(self):
        self.process.terminate()
        self.process.wait()


def wait(condition, pause=0.02):
    while True:
        value = condition()
        if value:
            return value
        time.sleep(pause)


def configuration(directory, name, host, queue, rule="", repositories="team/*"):
    path = f"{directory}/{name}.toml"
    with open(path, "w") as file:
        file.write(f'[registry]\nhost = "{host}"\n[queue]\nsqlite = "{directory}/{queue}.db"\n[budget]\nscratch = "{directory}"\n'
                   f'[log]\nformat = "json"\n[serve]\nlisten = "127.0.0.1:0"\npoll = "30d"\n'
                   f'[[rule]]\nrepositories = ["{repositories}"]\n{rule}\n')
    return path


def run(imgdelta, *words):
    """Runs a command and returns its output, its seconds and its peak of memory in bytes."""
    started = time.monotonic()
    process = subprocess.Popen([imgdelta, *words], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, words
    return output, time.monotonic() - started, usage.ru_maxrss << 10


def scans(options):
    registry = Registry(options.registry, options.repositories, options.tags, options.milliseconds)
    requests = lambda: registry.count()[0]
    with tempfile.TemporaryDirectory() as directory:
        def paused(name, queue, rule=""):
            # A run makes the queue; it ends with an error, since the repository does not exist.
            nothing = configuration(directory, "nothing", registry.host, queue, repositories="none/none")
            subprocess.run([options.imgdelta, "job", "run", "--config", nothing], stderr=subprocess.DEVNULL)
            config = configuration(directory, name, registry.host, queue, rule)
            run(options.imgdelta, "job", "pause", "--config", config, "--reason", "scans only")
            return config

        config = paused("one", "one")
        registry.ask("forget")
        started, service = time.monotonic(), Service(options.imgdelta, config)
        complete = lambda service: service.metric('imgdelta_scans_total{result="complete"}') >= 1
        wait(lambda: complete(service), 0.2)
        seconds = time.monotonic() - started
        peak, cpu = (service.metric(name) for name in ("imgdelta_resident_memory_peak_bytes", "process_cpu_seconds_total"))
        first = requests()
        print(f"first scan: {seconds:.1f} s, {first:,} requests, {cpu:.1f} CPU s, peak {peak / 2**20:.1f} MiB")
        service.stop()

        config = paused("later", "one", "immutable-tags = true")
        registry.ask("forget")
        _, seconds, peak = run(options.imgdelta, "job", "run", "--config", config)
        print(f"later scan without changes: {seconds:.1f} s, {requests():,} requests, peak {peak / 2**20:.1f} MiB")

        config = paused("three", "three")
        registry.ask("forget")
        started = time.monotonic()
        services = [Service(options.imgdelta, config) for _ in range(3)]
        wait(lambda: requests() > first / 3, 0.5)
        # The last repository by name, which the scan has not reached.
        last, tag = f"team/app{options.repositories - 1:05}", f"v{options.tags + 1}"
        before = time.monotonic()
        registry.ask(f"push {options.repositories - 1} {options.tags + 1}")
        services[0].notify(last, tag)
        added = lambda: next((at for at, event in list(services[0].events)
                              if event.get("fields", event).get("message") == "tasks added"
                              and event.get("fields", event).get("repository") == last), None)
        print(f"push during the scan: tasks queued after {wait(added) - before:.2f} s")
        wait(lambda: any(complete(service) for service in services), 0.2)
        print(f"first scan of three processes: {time.monotonic() - started:.1f} s, {requests():,} requests")
        for service in services:
            service.stop()
    registry.stop()


def pushes(options):
    registry = Registry(options.registry, 1, 4, 0, options.bytes)
    with tempfile.TemporaryDirectory() as directory:
        config = configuration(directory, "job", registry.host, "job")
        service = Service(options.imgdelta, config)
        wait(lambda: all(service.published(f"v{base}", "v4") for base in (1, 2, 3)))

        for tag in range(5, 5 + options.lone + options.pushes):
            registry.ask(f"make 0 {tag}")

        def push(tag):
            registry.ask(f"push 0 {tag}")
            at = time.monotonic()
            service.notify("team/app00000", f"v{tag}")
            return at

        lone = []
        for tag in range(5, 5 + options.lone):
            at = push(tag)
            lone.append(wait(lambda: service.published(f"v{tag - 1}", f"v{tag}")) - at)
            wait(lambda: service.published(f"v{tag - 3}", f"v{tag}"))
        print("lone push to published delta: " + ", ".join(f"{seconds:.2f} s" for seconds in lone))

        # A new queue and an empty cache, so that the bytes are those of the burst.
        first, last = 5 + options.lone, 4 + options.lone + options.pushes
        registry.ask("forget")
        begun, interval = time.monotonic(), options.seconds / (options.pushes - 1)
        for tag in range(first, last + 1):
            time.sleep(max(0, begun + (tag - first) * interval - time.monotonic()))
            at = push(tag)
        seconds = wait(lambda: service.published(f"v{last - 1}", f"v{last}")) - at
        wait(lambda: service.published(f"v{last - 3}", f"v{last}"))
        _, _, fetched, distinct = registry.count()
        ended = lambda at, event: at >= begun and event.get("fields", event).get("outcome") == "published"
        made = sum(ended(at, event) for at, event in service.events)
        print(f"{options.pushes} pushes within {options.seconds} s: newest delta after {seconds:.2f} s, "
              f"{seconds / (sum(lone) / len(lone)):.2f} times a lone push")
        print(f"fetched {fetched:,} bytes, {fetched / distinct:.2f} times the distinct {distinct:,}; {made} deltas made")
        service.stop()
    registry.stop()


def main():
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scans", "pushes"])
    parser.add_argument("--imgdelta", default=f"{target}/release/imgdelta")
    parser.add_argument("--registry", default=f"{target}/release/examples/many_repositories")
    for name, value in [("repositories", 10000), ("tags", 5), ("milliseconds", 5), ("bytes", 60_000_000), ("pushes", 12), ("seconds", 23), ("lone", 3)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    print("load before: %.1f %.1f %.1f" % os.getloadavg())
    {"scans": scans, "pushes": pushes}[options.what](options)
    print("load after: %.1f %.1f %.1f" % os.getloadavg())


if __name__ == "__main__":
    main()
