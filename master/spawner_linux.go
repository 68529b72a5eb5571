package master

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
)

// selfExe is this program, also after its file was replaced or deleted.
const selfExe = "/proc/self/exe"

// roleVariable tells a host process what it is to be; it is the only thing in its environment.
const roleVariable = "WCLUSTER_ROLE"

const (
	roleWorker  = "worker"
	roleCompile = "compile"
	roleProbe   = "probe"
)

// spawner is the goroutine that forks, for the whole life of a cluster. It keeps its OS thread, because the kernel
// sends the parent-death signal when the *thread* that forked has ended, and the runtime ends threads as it likes.
type spawner struct {
	requests chan spawnRequest
	done     chan struct{}
	start    sync.Once
}

type spawnRequest struct {
	hostProcess
	null   *os.File
	answer chan<- spawnAnswer
}

type spawnAnswer struct {
	process *Process
	err     error
}

func newSpawner() *spawner {
	return &spawner{requests: make(chan spawnRequest), done: make(chan struct{})}
}

// hostProcess says what to start, with its ends of what it shares with the master.
type hostProcess struct {
	host    string // path of the binary, or "" for this program
	name    string // what ps shows
	born    confinement
	role    string
	stdout  *ipc.FD // or nil for /dev/null
	stderr  *ipc.FD
	channel *ipc.FD
	cgroup  *ipc.FD // the group that it is born in, or nil for this process's
}

// close closes the descriptors that the process has got, or never will.
func (h *hostProcess) close() {
	h.stdout.Close()
	h.stderr.Close()
	h.channel.Close()
	h.cgroup.Close()
}

// spawn starts a host process: descriptors 0 to 3 are /dev/null, stdout, stderr and the channel; its own process
// group, so that a terminal's Ctrl-C does not reach it; killed when this process dies, however it dies.
func (s *spawner) spawn(h hostProcess) (*Process, error) {
	s.start.Do(func() { go s.run() })
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	answer := make(chan spawnAnswer, 1)
	select {
	case s.requests <- spawnRequest{h, null, answer}:
		a := <-answer
		return a.process, a.err
	case <-s.done:
		return nil, ErrClosed
	}
}

// stop ends the goroutine and its thread. Everything that it forked must have ended, or dies now.
func (s *spawner) stop() { close(s.done) }

// workerProcs gives a worker's Go runtime two processors: one for the guest, one for collections beside it. Left to itself
// it would take as many as the machine has, and keep two descriptors open to follow a cgroup's limit. A compiler gets no
// more: it works on one function after the other.
const workerProcs = "GOMAXPROCS=2"

// workerSlack is by how much sleeps in threads of a worker may be late, but for the guest's.
const workerSlack = 5 * time.Millisecond

func (s *spawner) run() {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	// What this thread forks inherits its timer slack, through execve(2) as well, and so does each thread that is made
	// there (PR_SET_TIMERSLACK(2const)). The guest's thread sets its own back. It is for the monitor thread of the Go
	// runtime, which asks for 20 µs sleeps as long as the guest's goroutine looks as if it ran without a break, and used
	// 5 % of a busy worker's CPU. If it cannot be set, that is all that is lost.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(workerSlack.Nanoseconds()), 0, 0, 0)
	for {
		select {
		case r := <-s.requests:
			process, err := r.fork()
			r.answer <- spawnAnswer{process, err}
		case <-s.done:
			return
		}
	}
}

// fork uses syscall.ForkExec rather than package os: os.StartProcess calls Fd on every file it passes, which
// clears O_NONBLOCK on the description that both sides share.
func (r spawnRequest) fork() (*Process, error) {
	path := r.host
	if path == "" {
		path = selfExe
	}
	null := r.null.Fd()
	files := []uintptr{null, null, null, uintptr(r.channel.Int())}
	if r.stdout != nil {
		files[1] = uintptr(r.stdout.Int())
	}
	if r.stderr != nil {
		files[2] = uintptr(r.stderr.Int())
	}
	pidfd := -1
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd}
	r.born.confine(sys)
	if r.cgroup != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, r.cgroup.Int()
	}
	pid, err := syscall.ForkExec(path, []string{r.name}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{roleVariable + "=" + r.role, workerProcs},
		Files: files,
		Sys:   sys,
	})
	runtime.KeepAlive(r.null)
	if err == syscall.EBADF {
		// What is passed is open. It is dup3(2), between fork and exec, that answers this for a number above the limit of
		// open files.
		err = syscall.EMFILE
	}
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: path, Err: err}
	}
	process, err := newProcess(pid, pidfd)
	if err != nil {
		// Nothing could wait for it. Its number is not given to another process before wait4.
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return process, nil
}

// processName is what ps shows of a host process. A module's name comes from a path: only what is printable is kept.
func processName(role, module string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, module)
	return fmt.Sprintf("wcluster: %s (%s)", role, clean)
}

// errWorkerProcess is what every master call answers in a process that was started as a host: without it a program
// that forgot host.Init would fork itself without end.
func errWorkerProcess() error {
	if os.Getenv(roleVariable) == "" {
		return nil
	}
	return fmt.Errorf("run a cluster: this process was started as a worker (%s is set): call host.Init() first in main", roleVariable)
}
