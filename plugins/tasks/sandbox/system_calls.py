"""The system calls that a program may make, with their numbers on x86-64 and arm64 (``-``: arm64 has no such call).

What CPython, the C library, threads, pipes, files and ``asyncio`` need, and nothing else. Numbers: Linux,
``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``.
"""

from __future__ import annotations

_ANY_ARGUMENTS = """
read 0 63, write 1 64, open 2 -, openat 257 56, close 3 57, close_range 436 436, pread64 17 67, pwrite64 18 68,
readv 19 65, writev 20 66, preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62, stat 4 -,
lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, statfs 137 43, fstatfs 138 44, access 21 -, faccessat 269 48,
faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50,
mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276,
link 86 -, linkat 265 37, symlink 88 -, symlinkat 266 36, truncate 76 45, ftruncate 77 46, fallocate 285 47,
fsync 74 82, fdatasync 75 83, chmod 90 -, fchmod 91 52, fchmodat 268 53, umask 95 166, utimensat 280 88, flock 73 32,
fcntl 72 25, dup 32 23, dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, fadvise64 221 223, getxattr 191 8,
lgetxattr 192 9, fgetxattr 193 10, listxattr 194 11, llistxattr 195 12, flistxattr 196 13, mmap 9 222, munmap 11 215,
mprotect 10 226, mremap 25 216, madvise 28 233, brk 12 214, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19, timerfd_create 283 85,
timerfd_settime 286 86, timerfd_gettime 287 87, bind 49 200, listen 50 201, accept 43 202, accept4 288 242,
connect 42 203, getsockname 51 204, getpeername 52 205, sendto 44 206, recvfrom 45 207, sendmsg 46 211,
recvmsg 47 212, shutdown 48 210, setsockopt 54 208, getsockopt 55 209, fork 57 -, vfork 58 -, execve 59 221,
exit 60 93, exit_group 231 94, wait4 61 260, waitid 247 95, kill 62 129, tkill 200 130, tgkill 234 131, getpid 39 172,
getppid 110 173, gettid 186 178, getpgid 121 155, getpgrp 111 -, setpgid 109 154, getsid 124 156, setsid 112 157,
getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getgroups 115 158, getresuid 118 148,
getresgid 120 150, getrlimit 97 163, setrlimit 160 164, getrusage 98 165, times 100 153, sysinfo 99 179, uname 63 160,
getpriority 140 141, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, pause 34 -, alarm 37 -, getitimer 36 102,
setitimer 38 103, nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114,
gettimeofday 96 169, time 201 -, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108,
timer_delete 226 111, timer_getoverrun 225 109, futex 202 98, set_robust_list 273 99, get_robust_list 274 100,
set_tid_address 218 96, rseq 334 293, membarrier 324 283, restart_syscall 219 128, arch_prctl 158 -,
sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168, getrandom 318 278
"""

_CHECKED_ARGUMENTS = "socket 41 198, socketpair 53 199, clone 56 220, prlimit64 302 261, ioctl 16 29, prctl 157 167"


def numbers(machine: str) -> dict[str, int]:
    """Return the calls that are allowed whatever their arguments, by name.

    Args:
        machine: ``"x86_64"`` or ``"aarch64"``, as ``platform.machine()`` names it.
    """
    return _column(_ANY_ARGUMENTS, machine)


def checked_numbers(machine: str) -> dict[str, int]:
    """Return the calls that are allowed with some arguments only, by name."""
    return _column(_CHECKED_ARGUMENTS, machine)


def _column(table: str, machine: str) -> dict[str, int]:
    column = {"x86_64": 1, "aarch64": 2}[machine]
    rows = [row.split() for row in table.split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
