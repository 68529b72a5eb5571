package master

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// ownNamespaces are the clone flags of a confined process. There is none for processes: the first one of such a namespace
// has no default signal actions, so that SIGTERM would not end it.
const ownNamespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC |
	syscall.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// nobody is the user and group that root's workers become: the kernel's overflow id, which owns nothing.
const nobody = 65534

// confinement is what a process is born into.
type confinement uint8

const (
	unconfined confinement = iota
	confined               // namespaces of its own, as the same user
	lowered                // and with nobody as a second user, whom it can become
)

// confine gives a process namespaces of its own. It is root in there, so that it can make its mounts, until it drops that;
// outside it is who this process is: what it may read of the user's it can read.
func (c confinement) confine(attr *syscall.SysProcAttr) {
	if c == unconfined {
		return
	}
	attr.Cloneflags |= ownNamespaces
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	if c == lowered {
		other := syscall.SysProcIDMap{ContainerID: abi.SandboxUser, HostID: nobody, Size: 1}
		attr.UidMappings = append(attr.UidMappings, other)
		attr.GidMappings = append(attr.GidMappings, other)
		attr.GidMappingsEnableSetgroups = true // to be in no other group
	}
}

// bestConfinements are worth trying for a probe, the best first. Only root may give a process another user; and one that
// stays root is bound neither by RLIMIT_NPROC nor by the modes of root's files.
func bestConfinements() []confinement {
	if os.Geteuid() == 0 {
		return []confinement{lowered, confined, unconfined}
	}
	return []confinement{confined, unconfined}
}

// refuseRights makes a channel refuse descriptors: the peer's sendmsg answers EPERM (SO_PASSRIGHTS, Linux 6.16). On older
// kernels the reader drops the worker that sends some.
func refuseRights(ours *ipc.FD) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(ours.Int(), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0))
}

func canRefuseRights() error {
	a, b, err := ipc.Pair()
	if err != nil {
		return err
	}
	defer a.Close()
	defer b.Close()
	if err := refuseRights(a); err != nil {
		return fmt.Errorf("%w (needs Linux 6.16 or newer)", err)
	}
	return nil
}

// verify looks whether every thread of a worker is locked down as it was told to be: the kernel's word, not the worker's. A
// process that has ended has no threads to look at. What it says of one that has been waited for meanwhile is worth nothing:
// its number may be another's.
func (s *sandbox) verify(pid int) error {
	if s.level == abi.SandboxOff {
		return nil
	}
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil && !threadGone(err) {
		return fmt.Errorf("look at its threads: %w", err)
	}
	for _, t := range threads {
		text, err := os.ReadFile(dir + "/" + t.Name() + "/status")
		if threadGone(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at its threads: %w", err)
		}
		for _, want := range s.threadMust() {
			if got := statusField(text, want.field); !want.ok(got) {
				return fmt.Errorf("thread %s has %s %q", t.Name(), want.field, got)
			}
		}
	}
	return nil
}

// threadGone is whether an error of /proc says that the process or thread is gone.
func threadGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// must is what a field of proc_pid_status(5) must be.
type must struct {
	layer abi.Layer
	field string
	ok    func(value string) bool
}

var threadMusts = []must{
	// SECCOMP_MODE_FILTER; or SECCOMP_MODE_DEAD, of a thread that a filter is just ending.
	{abi.LayerSeccomp, "Seccomp", func(v string) bool { return v == "2" || v == "3" }},
	{abi.LayerNoNewPrivs, "NoNewPrivs", func(v string) bool { return v == "1" }},
	{abi.LayerCapabilities, "CapEff", isZeroHex},
	{abi.LayerCapabilities, "CapPrm", isZeroHex},
}

func (s *sandbox) threadMust() (all []must) {
	if s.born == lowered && s.has(abi.LayerCapabilities) {
		all = append(all, must{abi.LayerCapabilities, "Uid", isNobody})
	}
	for _, m := range threadMusts {
		if s.has(m.layer) {
			all = append(all, m)
		}
	}
	return all
}

// isNobody is about the real, effective, saved and file system user.
func isNobody(v string) bool {
	ids := strings.Fields(v)
	return len(ids) == 4 && !slices.ContainsFunc(ids, func(id string) bool { return id != strconv.Itoa(nobody) })
}

func isZeroHex(v string) bool {
	n, err := strconv.ParseUint(v, 16, 64)
	return err == nil && n == 0
}

// statusField is the value of one line of proc_pid_status(5).
func statusField(status []byte, name string) string {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(name+":")); ok {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
