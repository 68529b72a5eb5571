package main

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// closeOnExec keeps what this process has inherited, a listening socket of systemd for instance, from its workers:
// they get descriptors from the master alone. On a kernel before 5.11 each is marked by itself.
func closeOnExec() {
	const first = 3
	if unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	open, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range open {
		if n, err := strconv.Atoi(entry.Name()); err == nil && n >= first {
			unix.CloseOnExec(n) // one that has closed meanwhile, as that of the directory, does not matter
		}
	}
}

// activationNames are the names of the sockets that a service manager has passed to this process, by descriptor: see
// sd_listen_fds(3).
func activationNames(getenv func(string) string) map[int]string {
	names := map[int]string{}
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return names // meant for another process that passed its environment on
	}
	n, _ := strconv.Atoi(getenv("LISTEN_FDS"))
	for i, name := range strings.Split(getenv("LISTEN_FDNAMES"), ":") {
		if i < n && isName(name) {
			names[3+i] = name
		}
	}
	return names
}

// isTerminal does not ask for Fd, which would clear O_NONBLOCK for everybody who shares the file.
func isTerminal(f *os.File) (yes bool) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { yes = term.IsTerminal(int(fd)) })
	return err == nil && yes
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
