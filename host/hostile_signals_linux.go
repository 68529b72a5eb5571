//go:build hostile

package host

import "golang.org/x/sys/unix"

// signalAttacks end or disturb others. They send signal 0, which the kernel decides on as on any other and does not
// deliver.
var signalAttacks = []attack{
	{"kill-sibling", "kill", "another worker's end", func(p *prisoner) error {
		return ask(unix.SYS_KILL, uintptr(p.sibling), 0)
	}},
	{"kill-master", "kill", "the end of the cluster", func(p *prisoner) error {
		return ask(unix.SYS_KILL, uintptr(p.master), 0)
	}},
	{"kill-everybody", "kill", "the end of all that this user runs", asks(unix.SYS_KILL, minus(1), 0)},
	{"kill-master-group", "kill", "the end of the shell that the master runs in", func(p *prisoner) error {
		return ask(unix.SYS_KILL, minus(p.master), 0)
	}},
	{"kill-sibling-thread", "tkill", "another worker's end", func(p *prisoner) error {
		return ask(unix.SYS_TKILL, uintptr(p.sibling), 0)
	}},
	{"kill-thread-of-group", "tgkill", "another worker's end", func(p *prisoner) error {
		return ask(unix.SYS_TGKILL, uintptr(p.sibling), uintptr(p.sibling), 0)
	}},
	{"kill-thread-of-own-group", "tgkill", "another worker's end, as a thread of this one", func(p *prisoner) error {
		return ask(unix.SYS_TGKILL, uintptr(unix.Getpid()), uintptr(p.sibling), 0)
	}},
	{"queue-signal", "rt_sigqueueinfo", "another worker's end", func(p *prisoner) error {
		return ask(unix.SYS_RT_SIGQUEUEINFO, uintptr(p.sibling), uintptr(unix.SIGCONT), p.signalInfo())
	}},
	{"queue-signal-to-thread", "rt_tgsigqueueinfo", "another worker's end", func(p *prisoner) error {
		return ask(unix.SYS_RT_TGSIGQUEUEINFO, uintptr(p.sibling), uintptr(p.sibling), uintptr(unix.SIGCONT), p.signalInfo())
	}},
	{"signal-by-descriptor", "pidfd_send_signal", "the master's end", asks(unix.SYS_PIDFD_SEND_SIGNAL, stdin, 0, 0, 0)},
	{"signal-on-input", "fcntl", "a signal to the master whenever a connection comes", func(p *prisoner) error {
		return ask(unix.SYS_FCNTL, uintptr(p.listener), unix.F_SETOWN, uintptr(p.master))
	}},
	{"choose-signal", "fcntl", "which signal that is", func(p *prisoner) error {
		return ask(unix.SYS_FCNTL, uintptr(p.listener), unix.F_SETSIG, uintptr(unix.SIGKILL))
	}},
	{"own-socket-by-ioctl", "ioctl", "the same, by another call", func(p *prisoner) error {
		return ask(unix.SYS_IOCTL, uintptr(p.listener), unix.SIOCSPGRP, p.number(int32(p.master)))
	}},
	{"timer-on-sibling", "timer_create", "signals from a timer to another worker's thread", func(p *prisoner) error {
		const inThread = 4 // SIGEV_THREAD_ID
		return ask(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, p.words(0, uint64(unix.SIGURG)|inThread<<32, uint64(p.sibling), 0, 0, 0, 0, 0), p.room(8))
	}},
	{"signals-as-reads", "signalfd4", "signals that the runtime misses", func(p *prisoner) error {
		return ask(unix.SYS_SIGNALFD4, minus(1), p.room(8), 8, 0)
	}},
}

// signalInfo is a siginfo_t of SI_QUEUE.
func (p *prisoner) signalInfo() uintptr {
	const queued = 1<<32 - 1 // SI_QUEUE is -1
	return p.words(uint64(unix.SIGCONT), queued, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}
