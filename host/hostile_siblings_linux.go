//go:build hostile

package host

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// siblingAttacks look into other processes: another tenant's worker, or the master.
var siblingAttacks = []attack{
	{"read-sibling", "process_vm_readv", "another tenant's memory", func(p *prisoner) error {
		return ask(unix.SYS_PROCESS_VM_READV, uintptr(p.sibling), p.vector(), 1, p.words(0x400000, 8), 1, 0)
	}},
	{"write-sibling", "process_vm_writev", "another tenant's guest", func(p *prisoner) error {
		return ask(unix.SYS_PROCESS_VM_WRITEV, uintptr(p.sibling), p.vector(), 1, p.words(0, 8), 1, 0)
	}},
	{"trace-sibling", "ptrace", "another tenant's guest", func(p *prisoner) error {
		return ask(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(p.sibling), 0, 0)
	}},
	{"seize-master", "ptrace", "the master", func(p *prisoner) error {
		return ask(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(p.master), 0, 0)
	}},
	{"open-sibling-memory", "openat", "another tenant's memory", func(p *prisoner) error {
		return ask(unix.SYS_OPENAT, here, p.text("/proc/"+strconv.Itoa(p.sibling)+"/mem"), unix.O_RDWR)
	}},
	{"open-master-environment", "openat", "the master's secrets", func(p *prisoner) error {
		return ask(unix.SYS_OPENAT, here, p.text("/proc/"+strconv.Itoa(p.master)+"/environ"), unix.O_RDONLY)
	}},
	{"open-pidfd", "pidfd_open", "a descriptor of another worker", func(p *prisoner) error {
		return ask(unix.SYS_PIDFD_OPEN, uintptr(p.sibling), 0)
	}},
	{"take-descriptor", "pidfd_getfd", "the master's sockets", asks(unix.SYS_PIDFD_GETFD, stdin, 0, 0)},
	{"compare", "kcmp", "what two processes have in common", func(p *prisoner) error {
		return ask(unix.SYS_KCMP, uintptr(p.sibling), uintptr(p.master), 0, 0, 0)
	}},
	{"advise-sibling", "process_madvise", "a slow sibling", func(p *prisoner) error {
		return ask(unix.SYS_PROCESS_MADVISE, stdin, p.words(0, 0), 1, unix.MADV_PAGEOUT, 0)
	}},
	{"reap-sibling-memory", "process_mrelease", "a sibling's memory gone", asks(unix.SYS_PROCESS_MRELEASE, stdin, 0)},
	{"move-sibling-pages", "move_pages", "a slow sibling", func(p *prisoner) error {
		return ask(unix.SYS_MOVE_PAGES, uintptr(p.sibling), 0, 0, 0, 0, 0)
	}},
	{"robust-list", "get_robust_list", "an address in another process", func(p *prisoner) error {
		return ask(unix.SYS_GET_ROBUST_LIST, uintptr(p.sibling), p.room(8), p.room(8))
	}},
	{"sibling-priority", "setpriority", "a sibling that is last in every queue", func(p *prisoner) error {
		return ask(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, uintptr(p.sibling), 19)
	}},
	{"sibling-processors", "sched_setaffinity", "a sibling on a busy processor", func(p *prisoner) error {
		return ask(unix.SYS_SCHED_SETAFFINITY, uintptr(p.sibling), 8, p.words(1))
	}},
	{"sibling-limits", "prlimit64", "a sibling without descriptors", func(p *prisoner) error {
		return ask(unix.SYS_PRLIMIT64, uintptr(p.sibling), unix.RLIMIT_CORE, p.words(0, 0), 0)
	}},
	{"look-at-sibling-limits", "prlimit64", "what a sibling may use", func(p *prisoner) error {
		return ask(unix.SYS_PRLIMIT64, uintptr(p.sibling), unix.RLIMIT_CORE, 0, p.room(16))
	}},
	{"sibling-processor-time", "clock_gettime", "when another tenant computes, by the nanosecond", func(p *prisoner) error {
		return ask(unix.SYS_CLOCK_GETTIME, processClock(p.sibling), p.room(16))
	}},
	{"sibling-processor-time-sleep", "clock_nanosleep", "when another tenant computes", func(p *prisoner) error {
		return ask(unix.SYS_CLOCK_NANOSLEEP, processClock(p.sibling), unix.TIMER_ABSTIME, p.words(0, 1), 0)
	}},
	{"sibling-processor-timer", "timer_create", "a signal when another tenant has computed so long", func(p *prisoner) error {
		return ask(unix.SYS_TIMER_CREATE, processClock(p.sibling), 0, p.room(8))
	}},
	{"sibling-affinity", "sched_getaffinity", "which processes there are", func(p *prisoner) error {
		return ask(unix.SYS_SCHED_GETAFFINITY, uintptr(p.sibling), 128, p.room(128))
	}},
}

// vector is an iovec of eight bytes of our own.
func (p *prisoner) vector() uintptr { return p.words(uint64(p.room(8)), 8) }

// processClock is CPUCLOCK_SCHED of a process: clock_getcpuclockid(3) makes it the same way.
func processClock(pid int) uintptr { return uintptr(^pid)<<3 | 2 }
