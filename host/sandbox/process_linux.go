package sandbox

import (
	"errors"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/wcluster/wcluster/abi"
)

// CloseInherited closes every descriptor from first on: what a program that embeds the cluster may have opened without
// CLOEXEC. It is for the very beginning of a process. The Go runtime's poller has its own by then, an epoll instance and an
// eventfd, and so those are spared; an inherited one of these kinds gives its holder nothing.
func CloseInherited(first int) error {
	const dir = "/proc/self/fd"
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range all {
		n, err := strconv.Atoi(entry.Name())
		if err != nil || n < first {
			continue
		}
		what, err := os.Readlink(dir + "/" + entry.Name())
		if err == nil && what != "anon_inode:[eventpoll]" && what != "anon_inode:[eventfd]" {
			unix.Close(n) // of the directory itself, which is closed by now, there is no link
		}
	}
	return nil
}

const (
	// spareFDs are descriptors of the process that are not the guest's: the channel, epoll, the runtime's, those of
	// frames on their way.
	spareFDs = 64 + abi.MaxPreopens

	// maxThreads bounds the threads of a worker. The Go runtime needs one for each call that waits, and some.
	maxThreads = 128
)

// limit sets the resource limits of setrlimit(2). RLIMIT_AS is no use: the Go runtime alone reserves more than a gigabyte
// of address space.
func (c *Cage) limit() error {
	limits := map[int]uint64{
		unix.RLIMIT_CORE:     0,
		unix.RLIMIT_FSIZE:    uint64(c.config.FileBytes),
		unix.RLIMIT_MEMLOCK:  0,
		unix.RLIMIT_MSGQUEUE: 0,
	}
	if c.config.FDs > 0 {
		limits[unix.RLIMIT_NOFILE] = uint64(c.config.FDs) + spareFDs
	}
	if c.config.CPUSeconds > 0 {
		limits[unix.RLIMIT_CPU] = uint64(c.config.CPUSeconds)
	}
	if c.config.Has(abi.LayerNamespaces) {
		limits[unix.RLIMIT_NPROC] = maxThreads // counted in this user namespace, where nobody else lives
	}
	for which, n := range limits {
		var have unix.Rlimit
		if err := unix.Getrlimit(which, &have); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		n = min(n, have.Max)
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	return nil
}

// dropPrivileges makes the process another user, if it is to be one, and leaves it no capability.
func (c *Cage) dropPrivileges() error {
	if c.config.User != 0 {
		if err := become(c.config.User); err != nil {
			return err
		}
	}
	return dropCapabilities()
}

// become makes every thread the user and the group of that number, and of no other group. The kernel forgets the signal of a
// parent's death when the user changes (PR_SET_PDEATHSIG(2const)), so that is asked for again; a parent that died in between
// has been told by nobody.
func become(user uint32) error {
	parent := unix.Getppid()
	n := uintptr(user)
	if _, _, errno := psx.Syscall3(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	if _, _, errno := psx.Syscall3(unix.SYS_SETRESGID, n, n, n); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := psx.Syscall3(unix.SYS_SETRESUID, n, n, n); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if unix.Getppid() != parent {
		return errors.New("the master has ended")
	}
	return nil
}

// dropCapabilities empties the capability sets of every thread (capabilities(7)). The bounding set stays: without
// privileges to gain from execve, which seccomp denies besides, it bounds nothing.
func dropCapabilities() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return os.NewSyscallError("capset", errno)
	}
	return nil
}

// hide makes the process undumpable (PR_SET_DUMPABLE(2const)): its siblings, which are the same user in namespaces of their
// own, can neither trace it nor read its memory.
func hide() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// renounce sets no_new_privs on every thread.
func renounce() error {
	_, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

// denyWriteExecute is PR_SET_MDWE(2const), Linux 6.3: memory is either writable or executable for its whole life.
func denyWriteExecute() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_MDWE, unix.PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
}
