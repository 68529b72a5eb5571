//go:build hostile

package host

import (
	"golang.org/x/sys/unix"
)

// What only this architecture has: older calls, ports, and two other tables of system calls.
func init() {
	attacks = append(attacks, olderAttacks...)
	attacks = append(attacks, entryAttacks...)
}

var olderAttacks = []attack{
	{"fork", "fork", "a process that the master does not know", func(*prisoner) error {
		return childEnds(askFor(unix.SYS_FORK))
	}},
	{"vfork", "vfork", "a process in this one's memory", func(*prisoner) error {
		return childEnds(askFor(unix.SYS_VFORK))
	}},
	{"open-old", "open", "the host's users", func(p *prisoner) error {
		return ask(unix.SYS_OPEN, p.text("/etc/passwd"), unix.O_RDONLY)
	}},
	{"create-old", "creat", "a file of its own", func(p *prisoner) error {
		return ask(unix.SYS_CREAT, p.text("/code/"+evidence), 0o600)
	}},
	{"stat-old", "stat", "what is there", func(p *prisoner) error {
		return ask(unix.SYS_STAT, p.text("/code"), p.room(256))
	}},
	{"access-old", "access", "what is there", func(p *prisoner) error {
		return ask(unix.SYS_ACCESS, p.text("/code"), 0)
	}},
	{"read-link-old", "readlink", "the path of the host binary", func(p *prisoner) error {
		return ask(unix.SYS_READLINK, p.text("/proc/self/exe"), p.room(256), 256)
	}},
	{"make-directory-old", "mkdir", "a place of its own", func(p *prisoner) error {
		return ask(unix.SYS_MKDIR, p.text("/"+evidence), 0o700)
	}},
	{"rename-old", "rename", "code of another module in this one's place", func(p *prisoner) error {
		return ask(unix.SYS_RENAME, p.text("/code"), p.text("/"+evidence))
	}},
	{"duplicate-2", "dup2", "another socket in the channel's place", onListener(unix.SYS_DUP2, channel)},
	{"map-vdso", "arch_prctl", "more of the kernel's own code, where it likes", func(*prisoner) error {
		const mapVDSO64 = 0x2003 // ARCH_MAP_VDSO_64
		return ask(unix.SYS_ARCH_PRCTL, mapVDSO64, 0)
	}},
	{"ports", "ioperm", "the machine's devices", asks(unix.SYS_IOPERM, 0x80, 1, 1)},
	{"all-ports", "iopl", "the machine's devices", asks(unix.SYS_IOPL, 3)},
	{"segments", "modify_ldt", "segments of its own", asks(unix.SYS_MODIFY_LDT, 1, 0, 0)},
	{"another-kernel-file", "kexec_file_load", "another kernel", asks(unix.SYS_KEXEC_FILE_LOAD, minus(1), minus(1), 0, 0, 0)},
	{"epoll-old", "epoll_create", "a user without room in epoll", asks(unix.SYS_EPOLL_CREATE, 1)},
}

// x32 marks a call of the x32 table.
const x32 = 0x40000000

var entryAttacks = []attack{
	{"x32-getpid", "x32 getpid", "a table of calls that a filter may have forgotten", asks(x32 | unix.SYS_GETPID)},
	{"x32-open", "x32 open", "the host's users, by that table", func(p *prisoner) error {
		return ask(x32|unix.SYS_OPEN, p.text("/etc/passwd"), unix.O_RDONLY)
	}},
	{"x32-execve", "x32 execve", "a program, by a number that only that table has", asks(x32 | 520)},
	{"int80-getpid", "i386 getpid", "a table of calls in which the numbers mean other things", func(*prisoner) error {
		return result(int80(20, 0, 0, 0))
	}},
	{"int80-open", "i386 open", "the host's users, by that table", func(p *prisoner) error {
		return result(int80(5, 0, 0, 0)) // its arguments have 32 bits: no address of ours fits
	}},
	{"int80-socketcall", "i386 socketcall", "a call that is many", func(*prisoner) error {
		return result(int80(102, 1, 0, 0))
	}},
	{"thread-bomb", "clone", "a machine without room for threads", threadBomb},
	{"thread-with-own-descriptors", "clone", "a table of descriptors that the host does not know, in which nothing is ever closed", func(*prisoner) error {
		return thread(unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD)
	}},
}

// threadBomb makes threads until there is no room for more: these are not of the Go runtime, which would end the process
// for want of one.
func threadBomb(*prisoner) error {
	return until(1000, func() error { return thread(threadFlags) })
}

// thread makes a thread that waits for ever and takes no signals.
func thread(flags uintptr) error {
	stack, err := page()
	if err != nil {
		return err
	}
	all := unix.Sigset_t{Val: [16]uint64{0: 1<<64 - 1}}
	var before unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return err
	}
	err = result(idle(flags, stack+pageSize))
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return err
}

// result is what a call has answered, from the kernel's own convention.
func result(n int64) error {
	if n < 0 && n > -4096 {
		return unix.Errno(-n)
	}
	return nil
}

// int80 is a system call of i386.
//
//go:noescape
func int80(call, a, b, c uint32) int64

// idle is clone(2) for a thread that calls ppoll for ever.
//
//go:noescape
func idle(flags, stack uintptr) int64
