//go:build hostile

package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// privilegeAttacks take back what the process has given away.
var privilegeAttacks = []attack{
	{"dumpable", "prctl", "files of its own in proc, for others of the same user", control(unix.PR_SET_DUMPABLE, 1)},
	{"traceable", "prctl", "a helper outside that may trace it", control(unix.PR_SET_PTRACER, minus(1))},
	{"new-privileges", "prctl", "what set-user-id programs give", control(unix.PR_SET_NO_NEW_PRIVS, 0)},
	{"seccomp-off", "prctl", "every system call", control(unix.PR_SET_SECCOMP, 0)},
	{"seccomp-strict", "prctl", "a runtime that is killed", control(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_STRICT)},
	{"seccomp-again", "seccomp", "a filter that lies about results", asks(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, 0)},
	{"seccomp-listener", "seccomp", "calls of other threads, answered by this one", asks(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0)},
	{"dispatch-calls", "prctl", "calls that it handles itself", control(unix.PR_SET_SYSCALL_USER_DISPATCH, unix.PR_SYS_DISPATCH_ON)},
	{"memory-layout", "prctl", "another program's name and arguments in ps", control(unix.PR_SET_MM, unix.PR_SET_MM_ARG_START)},
	{"process-name", "prctl", "another name in ps", func(p *prisoner) error {
		return ask(unix.SYS_PRCTL, unix.PR_SET_NAME, p.text("init"), 0, 0, 0)
	}},
	{"write-execute", "prctl", "memory that is writable and then code", control(unix.PR_SET_MDWE, 0)},
	{"ambient-capability", "prctl", "a capability that stays", control(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_ADMIN)},
	{"keep-capabilities", "prctl", "capabilities that stay", control(unix.PR_SET_KEEPCAPS, 1)},
	{"secure-bits", "prctl", "root that is root again", control(unix.PR_SET_SECUREBITS, 0)},
	{"timer-slack", "prctl", "timers that are exact, at everybody's cost", control(unix.PR_SET_TIMERSLACK, 1)},
	{"core-schedule", "prctl", "a core that it chooses its companions for", control(unix.PR_SCHED_CORE, unix.PR_SCHED_CORE_CREATE)},
	{"speculation", "prctl", "speculation that was switched off", control(unix.PR_SET_SPECULATION_CTRL, unix.PR_SPEC_STORE_BYPASS, unix.PR_SPEC_ENABLE)},
	{"capabilities", "capset", "every capability again", func(p *prisoner) error {
		return ask(unix.SYS_CAPSET, p.words(unix.LINUX_CAPABILITY_VERSION_3), p.words(1<<64-1, 1<<64-1, 1<<64-1))
	}},
	{"user", "setresuid", "another user", asks(unix.SYS_SETRESUID, 0, 0, 0)},
	{"group", "setresgid", "another group", asks(unix.SYS_SETRESGID, 0, 0, 0)},
	{"groups", "setgroups", "no group that is shut out", asks(unix.SYS_SETGROUPS, 0, 0)},
	{"file-system-user", "setfsuid", "another's files", asks(unix.SYS_SETFSUID, 0)},
	{"raise-limit", "setrlimit", "as many descriptors as it likes", func(p *prisoner) error {
		return ask(unix.SYS_SETRLIMIT, unix.RLIMIT_NOFILE, p.words(1<<64-1, 1<<64-1))
	}},
	{"raise-limit-of-files", "prlimit64", "files to write", func(p *prisoner) error {
		return ask(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_FSIZE, p.words(1<<64-1, 1<<64-1), 0)
	}},
	{"limit-through-low-pointer", "prlimit64", "a limit, by an address whose lower half looks like none", limitThroughLowPointer},
	{"priority", "setpriority", "everybody's processor time", asks(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, minus(20))},
	{"real-time", "sched_setscheduler", "a processor for itself alone", func(p *prisoner) error {
		return ask(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_FIFO, p.number(99))
	}},
	{"real-time-attributes", "sched_setattr", "a processor for itself alone", func(p *prisoner) error {
		return ask(unix.SYS_SCHED_SETATTR, 0, p.words(48|unix.SCHED_FIFO<<32, 0, 99<<32, 0, 0, 0), 0)
	}},
	{"processors", "sched_setaffinity", "processors that it was kept off", func(p *prisoner) error {
		return ask(unix.SYS_SCHED_SETAFFINITY, 0, 8, p.words(1<<64-1))
	}},
	{"disk-priority", "ioprio_set", "everybody's disk time", asks(unix.SYS_IOPRIO_SET, 1, 0, 1<<13)},
	{"new-ruleset", "landlock_create_ruleset", "rules of its own", func(p *prisoner) error {
		return ask(unix.SYS_LANDLOCK_CREATE_RULESET, p.words(1), 8, 0)
	}},
	{"security-attribute", "lsm_set_self_attr", "another profile", func(p *prisoner) error {
		return ask(unix.SYS_LSM_SET_SELF_ATTR, 100, p.room(64), 64, 0)
	}},
}

// control is prctl(2) with constants.
func control(args ...uintptr) func(*prisoner) error { return asks(unix.SYS_PRCTL, args...) }

// limitThroughLowPointer sets a limit to nothing, which it is. That lies at an address whose lower 32 bits are zero: a filter
// that looked at no more would take it for a question.
func limitThroughLowPointer(*prisoner) error {
	const at = 0x3_0000_0000
	fixed := uintptr(unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_FIXED_NOREPLACE)
	if err := ask(unix.SYS_MMAP, at, pageSize, unix.PROT_READ|unix.PROT_WRITE, fixed, minus(1), 0); err != nil {
		return fmt.Errorf("no memory at %#x: %w", at, err)
	}
	return ask(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_CORE, at, 0)
}
