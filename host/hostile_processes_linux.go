//go:build hostile

package host

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// processAttacks make processes and programs, and more of anything than there is for all.
var processAttacks = []attack{
	{"clone-process", "clone", "a process that the master does not know", func(*prisoner) error {
		return clone(uintptr(unix.SIGCHLD))
	}},
	{"clone-sharing-memory", "clone", "a process in this one's memory", func(*prisoner) error {
		return clone(unix.CLONE_VM | unix.CLONE_VFORK | uintptr(unix.SIGCHLD))
	}},
	{"clone-brother", "clone", "a child of the master's", func(*prisoner) error {
		return clone(unix.CLONE_PARENT | uintptr(unix.SIGCHLD))
	}},
	{"clone3", "clone3", "a process, by a newer call", func(p *prisoner) error {
		return childEnds(askFor(unix.SYS_CLONE3, p.words(0, 0, 0, 0, uint64(unix.SIGCHLD), 0, 0, 0), unix.CLONE_ARGS_SIZE_VER0))
	}},
	{"fork-bomb", "clone", "no room for anybody's processes", func(*prisoner) error {
		var tries []func() error
		for range 1000 {
			tries = append(tries, func() error { return clone(uintptr(unix.SIGCHLD)) })
		}
		return each(tries...)
	}},
	{"execute", "execve", "another program", func(p *prisoner) error {
		return ask(unix.SYS_EXECVE, p.text("/proc/self/exe"), p.words(0), p.words(0))
	}},
	{"execute-descriptor", "execveat", "another program, from what is open", func(p *prisoner) error {
		return ask(unix.SYS_EXECVEAT, stdin, p.text(""), p.words(0), p.words(0), unix.AT_EMPTY_PATH)
	}},
	{"new-session", "setsid", "a life without the master's process group", asks(unix.SYS_SETSID)},
	{"join-group", "setpgid", "signals that are meant for others", asks(unix.SYS_SETPGID, 0, 1)},
	{"adopt-orphans", "prctl", "children of others", asks(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)},
	{"outlive-master", "prctl", "a life without the master", asks(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)},
	{"wait-for-child", "wait4", "who its children are", asks(unix.SYS_WAIT4, minus(1), 0, unix.WNOHANG, 0)},
	{"open-own-pidfd", "pidfd_open", "a descriptor of itself", func(*prisoner) error {
		return ask(unix.SYS_PIDFD_OPEN, uintptr(unix.Getpid()), 0)
	}},
	{"threads", "clone", "threads that the sandbox was not put on", manyThreads},
	{"descriptor-bomb", "eventfd2", "a machine without descriptors", func(*prisoner) error {
		return until(10_000, func() error { return ask(unix.SYS_EVENTFD2, 0, 0) })
	}},
	{"pipe-bomb", "pipe2", "a user without room for pipes", func(p *prisoner) error {
		return until(10_000, func() error { return ask(unix.SYS_PIPE2, p.room(8), 0) })
	}},
	{"epoll-bomb", "epoll_create1", "a user without room in epoll (max_user_watches)", func(*prisoner) error {
		return until(10_000, func() error { return ask(unix.SYS_EPOLL_CREATE1, 0) })
	}},
	{"timer-bomb", "timer_create", "a user without room for timers and signals", func(p *prisoner) error {
		return until(10_000, func() error {
			return ask(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, 0, p.room(8))
		})
	}},
}

// clone is clone(2) for a process, which ends at once: a copy of this one thread, in which no more of Go runs than
// childEnds. One that shares the memory would wreck this thread's stack, which the test would see.
func clone(flags uintptr) error {
	return childEnds(askFor(unix.SYS_CLONE, flags, 0, 0, 0, 0))
}

func childEnds(pid uintptr, err error) error {
	if err == nil && pid == 0 {
		_ = ask(unix.SYS_EXIT_GROUP, 0)
	}
	if err == nil {
		_ = ask(unix.SYS_WAIT4, pid, 0, 0, 0)
	}
	return err
}

// until repeats what is granted, and answers the refusal; nil after most times.
func until(most int, try func() error) error {
	for range most {
		if err := try(); err != nil {
			return err
		}
	}
	return nil
}

// manyThreads makes threads as the Go runtime makes them, and stays with them: the test looks at each.
func manyThreads(p *prisoner) error {
	const most = 40
	for range most {
		started := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(started)
			for {
				_, _ = unix.Ppoll(nil, nil, nil) // until a signal of the runtime's
			}
		}()
		<-started
	}
	p.stays = true
	return fmt.Errorf("%d threads", most)
}
