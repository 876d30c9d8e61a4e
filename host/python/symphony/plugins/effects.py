"""What workflow code must leave to steps, by the names of functions: the table of the lint.

Why it is wrong, and what to use, stands with each code; ``# symphony: allow[CODE]`` allows it in one line.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Effect(NamedTuple):
    """Why workflow code must not do it, and what it does instead."""

    why: str
    instead: str


CODES: Final = {
    "clock": Effect("a replay gets another time", "symphony.now()"),
    "sleep": Effect("it blocks every run, and is not durable", "await symphony.sleep(seconds)"),
    "chance": Effect("a replay gets another value", "symphony.random or symphony.uuid()"),
    "environ": Effect("a replay may see another environment", "an input of the workflow, or a step"),
    "file": Effect("files change between replays", "a step"),
    "network": Effect("a replay would do it again", "a step"),
    "process": Effect("workflow code runs on its run's own loop, without threads and processes", "a step"),
    "pit": Effect("calls of the Pit are effects", "a step"),
    "order": Effect(
        "coroutines are compared by address, so their order changes", "handles of steps, or tasks"
    ),
    "global": Effect("a replay finds what the run before has left", "a variable of the workflow, or a step"),
}

FUNCTIONS: Final = {
    "clock": """time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter
        time.perf_counter_ns time.process_time time.localtime time.gmtime time.ctime time.strftime
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today""",
    "sleep": "time.sleep",
    "chance": "os.urandom uuid.uuid1 uuid.uuid4",
    "environ": """os.environ os.getenv os.getcwd os.getpid os.cpu_count os.uname os.getlogin sys.argv
        pathlib.Path.cwd pathlib.Path.home getpass.getuser socket.gethostname platform.node""",
    "file": """open io.open input os.listdir os.scandir os.walk os.stat os.remove os.unlink os.rename
        os.replace os.mkdir os.makedirs os.rmdir os.path.exists os.path.isfile os.path.isdir
        os.path.getsize os.path.getmtime sqlite3.connect""",
    "network": "asyncio.open_connection asyncio.start_server",
    "process": """asyncio.to_thread asyncio.create_subprocess_exec asyncio.create_subprocess_shell
        os.system os.popen os.fork os.kill os.spawnv""",
}
"""Referring to one of these is an effect, be it called or handed on."""

MODULES: Final = {
    "chance": "random. secrets. numpy.random.",
    "environ": "platform.",
    "file": "shutil. tempfile. glob. aiofiles. fileinput.",
    "network": """requests. httpx. aiohttp. urllib.request. urllib3. socket. http.client. smtplib. ftplib.
        websockets. boto3.""",
    "process": "threading. multiprocessing. concurrent.futures. subprocess. _thread.",
    "pit": "symphony.pit. symphony.open_pit",
}
"""A call of what begins so is an effect."""

_METHODS: Final = """read_text read_bytes write_text write_bytes open exists is_file is_dir iterdir glob rglob
    walk stat lstat mkdir touch unlink rmdir rename replace resolve samefile"""
PATH_METHODS: Final = frozenset(_METHODS.split())
"""Methods of a pathlib.Path that look at the disk."""

PLAIN_METHODS: Final = ("read_text", "read_bytes", "write_text", "write_bytes")
"""Those whose names tell it of any object."""

_CHANGES: Final = """append extend insert remove pop clear sort reverse add discard update setdefault popitem
    appendleft popleft"""
MUTATORS: Final = frozenset(_CHANGES.split())
"""Methods that change a list, dict, set or deque."""

BY_NAME: Final = {name: code for code, names in FUNCTIONS.items() for name in names.split()}
BY_PREFIX: Final = {prefix: code for code, prefixes in MODULES.items() for prefix in prefixes.split()}


def code_of_call(name: str) -> str | None:
    """The code of calling a function of this full name, if that is an effect."""
    return next((code for prefix, code in BY_PREFIX.items() if name.startswith(prefix)), None)
