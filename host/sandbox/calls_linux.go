package sandbox

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// What a worker may ask of the kernel. Every list has a reason beside it; what is on none fails with EPERM, and what is
// fatal ends the process: nothing that is honest comes near it. The kernel's own numbers differ by architecture, and so do a
// few calls that only one of them has: see the files named after those.

// always is allowed whatever the arguments.
func always() []uintptr {
	return append([]uintptr{
		// Input and output on what is open.
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
		unix.SYS_PREADV2, unix.SYS_PWRITEV2, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_LSEEK, unix.SYS_CLOSE,
		unix.SYS_FSTAT, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2, unix.SYS_EPOLL_CTL, unix.SYS_PPOLL,
		unix.SYS_ACCEPT4, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,

		// The Go runtime: threads, sleep, signals to itself, memory, time, its network poller, the end. A program with cgo
		// has glibc's ways of the same.
		unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN,
		unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_SETITIMER, unix.SYS_TIMER_SETTIME,
		unix.SYS_TIMER_DELETE, unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_BRK, unix.SYS_MINCORE,
		unix.SYS_GETTIMEOFDAY, unix.SYS_GETRANDOM,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_GETRUSAGE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,

		// The self-test, which looks at what this process is.
		unix.SYS_CAPGET, unix.SYS_GETUID, unix.SYS_GETEUID,
	}, alwaysHere...)
}

// fatal ends the process: ways out that no part of it takes by mistake.
func fatal() []uintptr {
	return append([]uintptr{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_BPF, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_USERFAULTFD, unix.SYS_PERF_EVENT_OPEN,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
		unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON,
		unix.SYS_OPEN_BY_HANDLE_AT,
	}, fatalHere...)
}

// options of sockets that a worker may set. The numbers mean other things at other levels.
var settable = map[uint32][]uint32{
	unix.IPPROTO_TCP: {unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT},
}

// clocks that a worker may read: the machine's and its own. Other numbers are those of other processes: how much another
// tenant has computed, by the nanosecond (clock_getcpuclockid(3)).
var clocks = []uint32{
	unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_PROCESS_CPUTIME_ID, unix.CLOCK_THREAD_CPUTIME_ID,
	unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME,
}

const (
	// newNamespaces are the flags of clone(2) that make namespaces.
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
		unix.CLONE_NEWPID | unix.CLONE_NEWNET

	// aThread is what a thread shares with its process, in the Go runtime and in every libc. One with descriptors of its own
	// would keep a connection open that the worker has closed, and multiply the limit of descriptors.
	aThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

	// prSetVMA names memory: the Go runtime does (prctl(2), Linux 5.17).
	prSetVMA = 0x53564d41
)

// conditional is allowed with some arguments. Those that a busy worker calls come first: for each of these the program runs,
// from its beginning.
func conditional(pid int, refuse action) []rule {
	only := func(call uintptr, when ...condition) rule {
		return rule{calls: []uintptr{call}, when: when, then: allow, otherwise: refuse}
	}
	rules := []rule{
		// With MSG_FASTOPEN, sending is connect(2), in the network namespace that the socket was made in.
		only(unix.SYS_SENDTO, has(3, unix.MSG_FASTOPEN, 0)),
		only(unix.SYS_SENDMSG, has(2, unix.MSG_FASTOPEN, 0)),
		// Ending our own side of a connection. Anything else would end a listener for everybody.
		only(unix.SYS_SHUTDOWN, is(1, unix.SHUT_WR)),
		// How much is unread and unsent (FIONREAD, SIOCOUTQ), which a drain asks.
		only(unix.SYS_IOCTL, is(1, unix.TIOCINQ, unix.TIOCOUTQ)),
		// The flags of a listener are everybody's, and a duplicate is a descriptor that nobody has counted.
		only(unix.SYS_FCNTL, is(1, unix.F_GETFL, unix.F_GETFD)),
		// Threads, never processes or namespaces. clone3 hides its flags behind a pointer: ENOSYS makes callers use clone.
		only(unix.SYS_CLONE, has(0, aThread|newNamespaces, aThread)),
		{calls: []uintptr{unix.SYS_CLONE3}, then: fails(unix.ENOSYS)},
		// The runtime stops its own threads.
		only(unix.SYS_TGKILL, is(0, uint32(pid))),
		only(unix.SYS_SCHED_GETAFFINITY, is(0, 0)),
		// Some options make descriptors: with SO_PEERPIDFD the channel gave away one of the master's process.
		only(unix.SYS_GETSOCKOPT, is(1, unix.SOL_SOCKET), is(2, unix.SO_TYPE, unix.SO_ERROR, unix.SO_ACCEPTCONN, unix.SO_DOMAIN, unix.SO_PROTOCOL)),
	}
	for _, call := range []uintptr{unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_TIMER_CREATE} {
		rules = append(rules, only(call, is(0, clocks...)))
	}
	for level, options := range settable {
		rules = append(rules, only(unix.SYS_SETSOCKOPT, is(1, level), is(2, options...)))
	}
	return rules
}

// filterLoading is the first filter: what a worker does while it runs, and what loading a module takes besides. A compiler
// also writes files, in the one directory that it has.
func (c *Cage) filterLoading() error {
	return c.filter(loading(unix.Getpid(), c.config.WriteCode, c.refusal()), c.refusal())
}

func loading(pid int, compiler bool, refuse action) []rule {
	rules := append(conditional(pid, refuse), []rule{
		{calls: always(), then: allow},
		{calls: []uintptr{unix.SYS_MMAP, unix.SYS_MPROTECT}, then: allow},
		{calls: append([]uintptr{unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_MKDIRAT}, openingHere...), then: allow},
		// The second filter, and what comes with it.
		{calls: []uintptr{unix.SYS_SECCOMP}, when: []condition{is(0, unix.SECCOMP_SET_MODE_FILTER)}, then: allow, otherwise: refuse},
		{calls: []uintptr{unix.SYS_PRCTL}, when: []condition{is(0, prSetVMA, unix.PR_SET_MDWE, unix.PR_GET_NO_NEW_PRIVS)}, then: allow, otherwise: refuse},
	}...)
	if compiler {
		rules = append(rules, rule{then: allow, calls: append([]uintptr{
			unix.SYS_FSYNC, unix.SYS_FTRUNCATE, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
		}, writingHere...)})
	}
	fatally := killProcess
	if refuse == logCall {
		fatally = logCall
	}
	return append(rules, rule{calls: fatal(), then: fatally})
}

// filterRunning is the second filter, on top of the first: it takes away what loading took, and lets the first decide on
// the rest.
func (c *Cage) filterRunning() error {
	return c.filter(running(c.refusal()), allow)
}

func running(refuse action) []rule {
	notExecutable := func(call uintptr, prot uint32) rule {
		return rule{calls: []uintptr{call}, when: []condition{has(prot, unix.PROT_EXEC, 0)}, then: allow, otherwise: refuse}
	}
	opening := append([]uintptr{unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_MKDIRAT, unix.SYS_SECCOMP}, openingHere...)
	// What there is by now is enough. With more a worker could use up what its user has of them, and its siblings need
	// (max_user_watches of epoll(7), pipe-user-pages-soft of pipe(7), RLIMIT_SIGPENDING).
	making := []uintptr{unix.SYS_EPOLL_CREATE1, unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_TIMER_CREATE}
	return []rule{
		// What the first filter looks at for each request is through here at once.
		{calls: []uintptr{unix.SYS_SENDTO, unix.SYS_SENDMSG}, then: allow},
		notExecutable(unix.SYS_MMAP, 2),
		notExecutable(unix.SYS_MPROTECT, 2),
		{calls: []uintptr{unix.SYS_PRCTL}, when: []condition{is(0, prSetVMA)}, then: allow, otherwise: refuse},
		{calls: append(opening, making...), then: refuse},
	}
}

// refusal is what happens to a call that is on no list.
func (c *Cage) refusal() action {
	if c.config.Level == abi.SandboxLog {
		return logCall
	}
	return fails(unix.EPERM)
}

func (c *Cage) filter(rules []rule, rest action) error {
	var program []bpf.RawInstruction
	program, err := assemble(rules, rest)
	if err != nil {
		return err
	}
	return install(program)
}
