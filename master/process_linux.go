package master

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Process is a worker's process. It is held by a pidfd (Linux 5.3, as a clone flag 5.2), so a signal can never reach
// another process that was given the same number later.
type Process struct {
	pid   int
	file  *os.File // the pidfd, in the runtime's poller: waiting holds no thread
	raw   syscall.RawConn
	ended atomic.Pointer[Exit]
}

// newProcess takes over pidfd.
func newProcess(pid, pidfd int) (*Process, error) {
	if pidfd < 0 {
		return nil, errors.New("the kernel has no pidfd; Linux 5.4 or newer is needed")
	}
	// Only a non-blocking descriptor is given to the poller; the clone flag makes blocking ones.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(pidfd), "pidfd")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("use pidfd: %w", err)
	}
	return &Process{pid: pid, file: file, raw: raw}, nil
}

// Pid is the process's number. It may belong to another process once the worker is dead.
func (p *Process) Pid() int { return p.pid }

// Kill sends a signal to the process: os.ErrProcessDone when it has ended. It does not set suicide.
func (p *Process) Kill(sig syscall.Signal) error {
	var err error
	ctlErr := p.raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	switch {
	case ctlErr != nil || err == unix.ESRCH:
		return os.ErrProcessDone
	case err != nil:
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}

// ExitCode is the exit code: -1 until the exit event, and when a signal ended the process.
func (p *Process) ExitCode() int {
	if e := p.ended.Load(); e != nil {
		return e.Code
	}
	return -1
}

// Signal is the signal that ended the process: 0 until the exit event, and when it exited by itself.
func (p *Process) Signal() syscall.Signal {
	if e := p.ended.Load(); e != nil {
		return e.Signal
	}
	return 0
}

func (p *Process) tell(e *Exit) { p.ended.Store(e) }

// status is how a process ended.
type status struct {
	code   int // -1 when signal is set
	signal syscall.Signal
	cpu    time.Duration // user and system time of all its threads
	exit   *Exit         // what is told of it, once it is
}

// childInfo is siginfo_t as waitid(2) fills it in on 64-bit Linux.
type childInfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	uid                uint32
	status             int32
	_                  [100]byte
}

// cldExited is CLD_EXITED of waitid(2): status is an exit code. Otherwise it is a signal.
const cldExited = 1

// wait waits until the process has ended and takes it off the kernel's table. To be called once.
func (p *Process) wait() (status, error) {
	var info childInfo
	var usage unix.Rusage
	var err error
	waitErr := p.raw.Read(func(fd uintptr) bool {
		info = childInfo{}
		err = waitid(int(fd), &info, &usage)
		return err != nil || info.pid != 0
	})
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	switch {
	case waitErr != nil:
		return status{}, fmt.Errorf("wait for process %d: %w", p.pid, waitErr)
	case err != nil:
		return status{}, fmt.Errorf("wait for process %d: %w", p.pid, os.NewSyscallError("waitid", err))
	case info.code == cldExited:
		return status{code: int(info.status), cpu: cpu}, nil
	default:
		return status{code: -1, signal: syscall.Signal(info.status), cpu: cpu}, nil
	}
}

func waitid(pidfd int, info *childInfo, usage *unix.Rusage) error {
	for {
		err := unix.Waitid(unix.P_PIDFD, pidfd, (*unix.Siginfo)(unsafe.Pointer(info)), unix.WEXITED|unix.WNOHANG, usage)
		if err != unix.EINTR {
			return err
		}
	}
}

// release gives the pidfd back, after wait.
func (p *Process) release() { _ = p.file.Close() }

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("%d", int(s))
}
