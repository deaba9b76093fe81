"""Programs that try to get out of the sandbox: each attempt is refused, and what they take is bounded."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from decodebench import UsageError
from decodebench.plugins.tasks import sandbox
from decodebench.plugins.tasks.sandbox import Limits, Sandbox

from ...seeded_sample import seeded_sample

LIMITS = Limits(wall_s=4.0, cpu_s=4)

# Each raises OSError where it is refused; where it gets through, what follows it is an AssertionError.
REFUSED = {
    # network
    "tcp to a server of this machine": "socket.create_connection(('127.0.0.1', PORT), 1)",
    "tcp over version 6": "socket.create_connection(('::1', PORT), 1)",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.53', 53))",
    "raw packets of version 4": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "raw packets of the card": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "the host of a virtual machine": "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "the kernel's cryptography": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "bluetooth": "socket.socket(31, socket.SOCK_RAW, 1)",
    "express data path": "socket.socket(44, socket.SOCK_RAW, 0)",
    "a pair of another family": "socket.socketpair(socket.AF_INET)",
    "an abstract socket of this machine": "socket.socket(socket.AF_UNIX).connect('\\0ABSTRACT')",
    "a socket in a folder of this machine": "socket.socket(socket.AF_UNIX).connect('FOLDER/socket')",
    # files
    "a key in a folder of this machine": "open('FOLDER/key').read()",
    "homes": "os.listdir('/home')",
    "a file of root": "open('/root/.bashrc').read()",
    "the users": "open('/etc/passwd').read()",
    "the devices of the kernel": "os.listdir('/sys')",
    "memory as a device": "open('/dev/mem', 'rb').read(1)",
    "messages of the kernel": "open('/dev/kmsg').read()",
    "a terminal": "open('/dev/tty', 'rb+')",
    "a terminal of its own": "os.openpty()",
    "shared memory": "open('/dev/shm/x', 'w')",
    "a device of its own": "os.mknod('/tmp/disk', 0o60600, os.makedev(8, 0))",
    "a new file above": "open('/x', 'w')",
    "the standard library": "open(os.__file__, 'a')",
    "the interpreter": "open(sys.executable, 'r+b')",
    "a link over the interpreter": "os.symlink('/tmp', '/proc/self/exe')",
    "a hard link to the library": "os.link(os.__file__, '/tmp/os.py')",
    "the library's rights": "os.chmod(os.__file__, 0o777)",
    "another root": "os.chroot('/tmp')",
    # processes
    "variables of the first process": "open('/proc/1/environ', 'rb').read()",
    "variables of its own parent": "open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "memory of its own parent": "open(f'/proc/{os.getppid()}/mem', 'r+b')",
    "descriptors of the first process": "os.listdir('/proc/1/fd')",
    "the first process's root": "os.listdir('/proc/1/root')",
    "the command of another process": "open('/proc/2/cmdline').read()",
    "settings of the kernel": "open('/proc/sys/kernel/hostname', 'w')",
    "the magic key": "open('/proc/sysrq-trigger', 'w')",
    "protection from running out of memory": "open('/proc/self/oom_score_adj', 'w')",
    "a process of this machine ended": "os.kill(VICTIM, 9)",
    "another's limits": "call('prlimit64', os.getppid(), 7, 0, 0)",
    "another's processors": "os.sched_setaffinity(os.getppid(), {0})",
    "another's priority": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 5)",
    # rights
    "to be root": "os.setresuid(0, 0, 0)",
    "a group": "os.setgroups([0])",
    "a descriptor that was left open": "os.read(INHERITED, 1)",
    "input into a terminal": "fcntl.ioctl(os.dup(0), termios.TIOCSTI, b'x')",
    "a namespace of users by clone": "call('clone', 0x10000000 | 17, 0, 0, 0, 0)",
    "a namespace of mounts by clone": "call('clone', 0x20000 | 17, 0, 0, 0, 0)",
    "clone in its new form": "call('clone3', ctypes.byref(ctypes.c_uint64(0x10000000)), 88)",
    "itself readable by others": "call('prctl', 4, 1, 0, 0, 0)",
}

# Calls that do not exist: name, number on x86-64, number on arm64 (None: it has none). A program tries them all.
CALLS = """
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, add_key 248 217, request_key 249 218,
keyctl 250 219, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, pidfd_open 434 434,
pidfd_getfd 438 438, kcmp 312 272, process_madvise 440 440, shmget 29 194, shmat 30 196, semget 64 190, msgget 68 186,
mq_open 240 180, bpf 321 280, userfaultfd 323 282, perf_event_open 298 241, kexec_load 246 104, kexec_file_load 320 294,
init_module 175 105, finit_module 313 273, mount 165 40, umount2 166 39, pivot_root 155 41, move_mount 429 429,
fsopen 430 430, fsmount 432 432, open_tree 428 428, mount_setattr 442 442, unshare 272 97, setns 308 268, chroot 161 51,
memfd_create 319 279, memfd_secret 447 447, execveat 322 281, personality 135 92, seccomp 317 277,
name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262, splice 275 76, tee 276 77, vmsplice 278 75,
quotactl 179 60, swapon 167 224, reboot 169 142, acct 163 89, syslog 103 116, settimeofday 164 170, sethostname 170 161,
setuid 105 146, setgid 106 144, capset 126 91, landlock_create_ruleset 444 444, mbind 237 235, migrate_pages 256 238,
move_pages 279 239, lookup_dcookie 212 18, iopl 172 -, ioperm 173 -, modify_ldt 154 -, uselib 134 -
"""

HEAD = """
import ctypes, fcntl, os, socket, sys, termios
library = ctypes.CDLL(None, use_errno=True)
numbers = {numbers}
def call(name, *arguments):
    ctypes.set_errno(0)
    result = library.syscall(ctypes.c_long(numbers[name]), *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
ATTEMPT = "{head}\ntry:\n    {attempt}\nexcept OSError: pass\nelse: raise AssertionError('it got through')\n"

# What takes more than it may: how it ends.
BOUNDED = {
    "a fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "timeout|killed"),
    "threads": ("import _thread, time\nwhile True: _thread.start_new_thread(time.sleep, (9,))", "thread"),
    "memory": ("bytearray(10**10)", "MemoryError"),
    "memory of children": (
        "import os, time\nfor _ in range(9):\n    if os.fork() == 0: x = bytearray(9 * 10**8); time.sleep(9)",
        "BlockingIOError",
    ),
    "memory by mapping": ("import mmap\nmaps = [mmap.mmap(-1, 2**26) for _ in range(64)]", "Cannot allocate"),
    "memory by recursion in C": ("x = []\nfor _ in range(10**6): x = [x]\nrepr(x)", "RecursionError"),
    "bytes in /tmp": ("for i in range(99): open(f'/tmp/{i}', 'wb').write(bytes(2**20))", "No space left"),
    "a byte in each of many files": ("for i in range(10**5): open(f'/tmp/{i}', 'w').write('x')", "No space left"),
    "files in /tmp": ("import os\nfor i in range(10**5): os.close(os.open(f'/tmp/{i}', 66))", "No space left"),
    "folders in /tmp": ("import os\nfor i in range(10**5): os.mkdir(f'/tmp/{i}')", "No space left"),
    "links in /tmp": ("import os\nfor i in range(10**5): os.symlink('x', f'/tmp/{i}')", "No space left"),
    "pipes in /tmp": ("import os\nfor i in range(10**5): os.mkfifo(f'/tmp/{i}')", "No space left|not implemented"),
    "a large file": ("open('/tmp/x', 'wb').write(bytes(2**24))", "File too large"),
    "a large file with its signal off": (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen('/tmp/x', 'wb').truncate(2**24)",
        "File too large",
    ),
    "open files": ("files = [open('/dev/null') for _ in range(99)]", "Too many open files"),
    "raised limits": ("import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (99, 99))", "ValueError|Permission"),
    "processor time": ("while True: pass", "timeout|SIGKILL|SIGXCPU"),
    "sleep": ("import time\ntime.sleep(99)", "timeout"),
    "output": ("import os\nfor _ in range(10**4): os.write(1, bytes(2**20))", "passed|timeout"),
    "a message of an exception": ("raise Exception('x' * 10**7)", "Exception: xxx"),
    "an exception without a message": (
        "class Own(Exception):\n    def __str__(self): raise SystemExit\nraise Own", "Own"
    ),
    "a name with escapes": ("raise type('\\x1b[2J\\n', (Exception,), {})('\\x1b]0;x\\x07 \\ud800')", "?[2J?"),
    "every process": ("import os\nos.kill(-1, 9)", "killed: SIGKILL|ended early"),
}  # fmt: skip
SLOW = {"a fork bomb", "processor time", "sleep", "output"}


def numbers():
    rows = [row.split() for row in CALLS.split(",")]
    rows += [["clone", "56", "220"], ["clone3", "435", "435"], ["prlimit64", "302", "261"], ["prctl", "157", "167"]]
    at = 1 if platform.machine() == "x86_64" else 2
    return {row[0]: int(row[at]) for row in rows if row[at] != "-"}


@pytest.fixture(scope="module")
def run():
    try:
        sandbox.check()
    except UsageError as error:
        pytest.skip(str(error))
    return lambda program, limits=LIMITS: Sandbox(limits).run(program)


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """What there is to reach outside: servers, a key, a process, an inheritable descriptor."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "key").write_text("secret")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", "600"]) as victim,
        (folder / "key").open() as key,
    ):
        os.set_inheritable(key.fileno(), True)
        name = f"decodebench-{os.getpid()}"
        abstract.bind(f"\0{name}")
        named.bind(str(folder / "socket"))
        for server in (tcp, abstract, named):
            server.listen()
            server.settimeout(0.0)
        values = {
            "PORT": tcp.getsockname()[1],
            "ABSTRACT": name,
            "FOLDER": folder,
            "VICTIM": victim.pid,
            "INHERITED": key.fileno(),
        }
        yield values
        for server in (tcp, abstract, named):
            with pytest.raises(BlockingIOError):
                server.accept()
        assert victim.poll() is None and key.read() == "secret"
        victim.kill()


@pytest.mark.parametrize("name", seeded_sample(REFUSED, 24))
def test_an_attempt_is_refused(run, surroundings, name):
    attempt = REFUSED[name]
    for word, value in surroundings.items():
        attempt = attempt.replace(word, str(value))
    outcome = run(ATTEMPT.format(head=HEAD.format(numbers=numbers()), attempt=attempt))
    assert outcome.reason == "passed", outcome


def test_calls_that_are_not_listed_do_not_exist(run):
    tried = "for name in numbers:\n    if name in ('clone', 'prlimit64', 'prctl'): continue\n"
    tried += (
        "    try: call(name, 0, 0, 0, 0, 0, 0)\n    except OSError as error: assert error.errno == 38, (name, error)\n"
    )
    tried += "    else: raise AssertionError(name)\n"
    assert run(HEAD.format(numbers=numbers()) + tried).reason == "passed"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other calling conventions of x86-64")
@pytest.mark.parametrize(
    "call",
    [
        "library.syscall(ctypes.c_long(0x40000000 | 39))",  # getpid of the x32 ABI
        # mov eax, 20 (getpid of i386); int 0x80; ret
        "m = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
    ],
)
def test_calls_of_another_abi_end_the_program(run, call):
    assert run(f"import mmap\n{HEAD.format(numbers={})}{call}").reason == "killed: SIGSYS"


@pytest.mark.parametrize("name", seeded_sample(BOUNDED, 16, SLOW))
def test_what_a_program_takes_is_bounded(run, name):
    program, reasons = BOUNDED[name]
    begin = time.perf_counter()
    outcome = run(program)
    assert any(reason in outcome.reason for reason in reasons.split("|")), outcome
    assert len(outcome.reason) < 500 and outcome.reason.isprintable()
    assert time.perf_counter() - begin < LIMITS.wall_s + 10


def test_files_are_counted_from_an_empty_folder(run):
    fill = "import os\ntry:\n    for i in range(10**4): os.mkdir(f'/tmp/{i}')\nexcept OSError: pass\n"
    exact = f"{fill}assert len(os.listdir('/tmp')) == 100, len(os.listdir('/tmp'))"
    assert run(exact, Limits(tmp_files=100)).reason == "passed"
    assert run("import os\nassert os.listdir('/tmp') == []").reason == "passed"


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


def test_no_process_of_the_sandbox_has_rights_or_a_variable_of_ours(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LD_PRELOAD_OF_NOBODY", "x")
    one = Sandbox(Limits(wall_s=30))
    thread = threading.Thread(target=one.run, args=("import signal\nsignal.pause()",))
    thread.start()
    seen = []
    deadline = time.monotonic() + 20
    while len(seen) < 4 and time.monotonic() < deadline:  # bubblewrap, the first process, the judge, the answer
        time.sleep(0.05)
        seen = [one for one in psutil.Process().children(recursive=True) if "module.main" in command_of(one)]
    variables = [process.environ() for process in seen]
    states = [Path(f"/proc/{process.pid}/status").read_text().split() for process in seen]
    one.stop()
    thread.join()
    assert len(variables) >= 4
    filtered = [state[state.index("Seccomp:") + 1] for state in states]
    assert sorted(filtered) == ["0", "2", "2", "2"], "all but bubblewrap itself"
    assert {state[state.index("CapEff:") + 1] for state in states} == {"0" * 16}
    assert {state[state.index("NoNewPrivs:") + 1] for state in states} == {"1"}
    ours = set(os.environ) - {"PATH", "HOME", "LC_ALL", "PWD", "SHLVL", "_"}
    assert not [name for found in variables for name in found if name in ours]


def test_an_answer_sees_its_own_end_of_the_pipes_and_nothing_else(run):
    assert run(
        "import os, stat\nopen_ones = []\nfor fd in range(64):\n"
        "    try: open_ones.append(stat.S_IFMT(os.fstat(fd).st_mode))\n    except OSError: pass\n"
        "assert sorted(open_ones) == sorted([stat.S_IFCHR] * 3 + [stat.S_IFIFO] * 2), open_ones\n"
        "assert os.listdir('/proc') == ['self'] and os.listdir('/proc/self') == ['exe']\n"
        "assert sorted(os.listdir('/dev')) == ['full', 'null', 'random', 'urandom', 'zero']\n"
        "assert set(os.environ) <= {'PATH', 'HOME', 'PYTHONHASHSEED', 'LC_ALL', 'PWD', 'LC_CTYPE'}, os.environ"
    ).is_ok


HONEST = """
import asyncio, concurrent.futures, os, random, select, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, time
import threading, mmap
async def wait(): return await asyncio.gather(*(asyncio.sleep(0.001, i) for i in range(3)))
assert asyncio.run(wait()) == [0, 1, 2]
with concurrent.futures.ThreadPoolExecutor(1) as pool: assert list(pool.map(len, ['a', 'bc'])) == [1, 2]
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, 'x')
    open(path, 'w').write('1')
    shutil.copy2(path, path + 'y')
    os.rename(path, path + 'z')
    assert sorted(os.listdir(folder)) == ['xy', 'xz'] and os.stat(path + 'y').st_size == 1
    with sqlite3.connect(path + '.db') as base: assert base.execute('select 1 + 1').fetchone() == (2,)
    base.close()
a, b = socket.socketpair()
a.send(b'x')
assert select.select([b], [], [], 1)[0] == [b] and b.recv(1) == b'x'
assert subprocess.run([sys.executable, '-I', '-S', '-c', 'print(1)'], capture_output=True, text=True).stdout == '1\\n'
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
assert os.cpu_count() and os.urandom(2) and random.SystemRandom().random() < 1 and time.monotonic() and time.time()
assert len(mmap.mmap(-1, 4096)) == 4096 and os.uname().nodename == 'sandbox' and os.getcwd() == '/tmp'
if os.fork() == 0: os._exit(3)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
"""


def test_an_honest_program_has_what_it_needs(run):
    assert run(HONEST).reason == "passed"
