package sandbox

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
)

// A trial is something that a layer denies. The self-test tries it in the sealed process: a layer that was put on and does
// not hold is worse than none, because somebody relies on it.
type trial struct {
	layer abi.Layer
	what  string
	try   func() error // nil: it worked, and should not have
}

var trials = []trial{
	{abi.LayerCapabilities, "have a capability", haveCapability},
	{abi.LayerSeccomp, "open a path", func() error { return closing(unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0)) }},
	{abi.LayerSeccomp, "make a socket", func() error {
		return closing(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	}},
	{abi.LayerSeccomp, "duplicate a descriptor", func() error {
		return closing(unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0))
	}},
	{abi.LayerSeccomp, "change flags that are shared", func() error {
		flags, err := unix.FcntlInt(0, unix.F_GETFL, 0)
		if err == nil {
			_, err = unix.FcntlInt(0, unix.F_SETFL, flags)
		}
		return err
	}},
	{abi.LayerSeccomp, "send a signal", func() error { return unix.Kill(unix.Getpid(), 0) }},
	{abi.LayerSeccomp, "make a process", func() error {
		// An exit signal that does not exist: without the filter the answer is EINVAL, and there is no process either.
		_, _, errno := unix.RawSyscall6(unix.SYS_CLONE, 0xff|unix.CLONE_SIGHAND, 0, 0, 0, 0, 0)
		if errno == unix.EINVAL {
			return nil
		}
		return errno
	}},
	{abi.LayerSeccomp, "map executable memory", func() error {
		b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			_ = unix.Munmap(b) // it is ours
		}
		return err
	}},
	{abi.LayerMDWE, "make memory executable", makeExecutable},
}

// selfTest tries what the layers of this cage deny. With SandboxLog seccomp denies nothing.
func (c *Cage) selfTest() error {
	for _, t := range trials {
		if !c.config.Has(t.layer) || t.layer == abi.LayerSeccomp && c.config.Level == abi.SandboxLog {
			continue
		}
		if t.try() == nil {
			return &layerError{t.layer, fmt.Errorf("the self-test could %s", t.what)}
		}
	}
	return nil
}

func closing(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func haveCapability() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil // an answer is needed
	}
	for _, d := range data {
		if d.Effective|d.Permitted|d.Inheritable != 0 {
			return nil
		}
	}
	return errors.New("none")
}

// makeExecutable is denied by seccomp as well, where that is on: both ways to the end are good.
func makeExecutable() error {
	b, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer unix.Munmap(b)
	_, _, errno := unix.Syscall(unix.SYS_MPROTECT, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.PROT_READ|unix.PROT_EXEC)
	if errno == 0 {
		return nil
	}
	return errno
}
