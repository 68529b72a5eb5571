package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/internal/leaktest"
	"github.com/wcluster/wcluster/master"
)

// The test binary plays the host process; the module's name says which.
func TestMain(m *testing.M) {
	switch os.Getenv("WCLUSTER_ROLE") {
	case "":
		leaktest.Main(m)
	case "compile":
		compile(greet())
	default:
		work(greet())
	}
	syscall.Exit(0) // not os.Exit, which takes a second under the race detector
}

func check(err error) {
	if err != nil {
		os.Stderr.WriteString("fake host: " + err.Error() + "\n")
		syscall.Exit(99)
	}
}

func greet() (*ipc.Conn, ipc.Frame) {
	c, err := ipc.NewConn(ipc.NewFD(3), abi.Master, abi.DefaultMaxMessage, 1<<20)
	check(err)
	check(c.Control(abi.KindHello, 0, ipc.OurHello()))
	f, err := c.Receive()
	check(err)
	check(ipc.CheckHello(f))
	f, err = c.Receive()
	check(err)
	return c, f
}

// untilClosed reads until the master has closed the channel, which it does when it has what it wants.
func untilClosed(c *ipc.Conn) {
	for {
		if _, err := c.Receive(); err != nil {
			return
		}
	}
}

func compile(c *ipc.Conn, f ipc.Frame) {
	var request abi.Compile
	check(ipc.Decode(f, &request))
	check(os.WriteFile(filepath.Join(request.CacheDir, "code"), []byte("code"), 0o600))
	check(c.Control(abi.KindCompiled, 0, abi.Report{Kind: abi.KindCommand}))
	untilClosed(c)
}

func work(c *ipc.Conn, f ipc.Frame) {
	var config abi.Config
	check(ipc.Decode(f, &config))
	page, err := unix.Mmap(f.FDs[1].Int(), 0, abi.ScoreboardSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(err)
	state := (*uint64)(unsafe.Pointer(&page[abi.BoardState]))
	if config.Name == "broken.wasm" {
		check(c.Control(abi.KindFault, 0, abi.Fault{Text: "no import env.f", Reason: abi.FaultStart}))
		check(c.CloseWrite())
		untilClosed(c)
		syscall.Exit(1)
	}
	check(c.Control(abi.KindOnline, 0, nil))
	*state = uint64(abi.StateWaiting)
	if config.Name == "spins.wasm" && config.ID == 1 {
		*state = uint64(abi.StateGuest)
	}
	for {
		f, err := c.Receive()
		if err != nil {
			return
		}
		switch f.Kind {
		case abi.KindPing:
			check(c.Control(abi.KindPong, f.Seq, nil))
		case abi.KindMessage:
			syscall.Exit(int(f.Body[0] - '0'))
		case abi.KindDisconnect:
			check(c.Control(abi.KindDrained, 0, abi.Drained{}))
			check(c.CloseWrite())
			untilClosed(c)
			return
		}
	}
}

type supervised struct {
	*Supervisor
	cluster *master.Cluster
	online  chan *master.Worker
	exits   chan *master.Exit
	mu      sync.Mutex
	notes   []string
}

func supervise(t *testing.T, role string, p Policy) *supervised {
	t.Helper()
	path := filepath.Join(t.TempDir(), role+".wasm")
	if err := os.WriteFile(path, []byte(role), 0o600); err != nil {
		t.Fatal(err)
	}
	c := master.New()
	t.Cleanup(func() { c.Close(); <-c.Done() })
	if err := c.SetupMaster(master.Settings{Exec: path, CacheDir: t.TempDir(), Sandbox: abi.SandboxOff}); err != nil {
		t.Fatal(err)
	}
	v := &supervised{cluster: c, online: make(chan *master.Worker, 100), exits: make(chan *master.Exit, 100)}
	c.On(master.EventOnline, func(e master.Event) { v.online <- e.Worker })
	c.On(master.EventExit, func(e master.Event) { v.exits <- e.Exit })
	var err error
	v.Supervisor, err = New(c, p, func(n Note) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.notes = append(v.notes, n.String())
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *supervised) start(t *testing.T) {
	t.Helper()
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestAKilledWorkerIsReplacedAndShutdownEndsAll(t *testing.T) {
	v := supervise(t, "good", Policy{Workers: 2, BackoffMin: time.Millisecond})
	v.start(t)
	victim := <-v.online
	<-v.online
	victim.Process().Kill(syscall.SIGKILL)
	third := <-v.online
	if third.ID() != 3 {
		t.Errorf("the replacement is %v", third)
	}
	v.Shutdown()
	v.Shutdown()
	if r := v.Wait(); r != (Result{}) {
		t.Errorf("result %+v", r)
	}
	if st := v.Status(); st.State != Ended || st.Restarts != 1 {
		t.Errorf("status %+v", st)
	}
	if len(v.cluster.Workers()) != 0 {
		t.Error("workers are left")
	}
	if len(v.notes) == 0 || !strings.HasPrefix(v.notes[0], fmt.Sprintf("%v: signal SIGKILL; restarting in ", victim)) {
		t.Errorf("notes %q", v.notes)
	}
}

func TestItEndsWhenNobodyIsLeft(t *testing.T) {
	v := supervise(t, "good", Policy{Workers: 2, Restart: Never})
	v.start(t)
	(<-v.online).Send([]byte("4"))
	(<-v.online).Send([]byte("0"))
	if r := v.Wait(); r.Code != 4 || r.Err != nil {
		t.Errorf("result %+v", r)
	}
}

func TestStopKillsAtOnce(t *testing.T) {
	v := supervise(t, "spins", Policy{Workers: 1, Restart: Always})
	v.start(t)
	<-v.online
	v.Shutdown()
	v.Stop()
	v.Wait()
	if e := <-v.exits; !e.Suicide {
		t.Errorf("exit %+v", e)
	}
}

func TestAStuckWorkerAndAStoppedOneAreReplaced(t *testing.T) {
	v := supervise(t, "spins", Policy{Workers: 2, Timeout: 200 * time.Millisecond, BackoffMin: time.Millisecond})
	v.start(t)
	a, b := <-v.online, <-v.online
	stopped := a
	if a.ID() == 1 { // which spins
		stopped = b
	}
	e := <-v.exits
	if e.Fault == nil || e.Fault.Reason != master.FaultStuck || e.Fault.Text != "stuck: no host call for 200ms" || e.Suicide {
		t.Errorf("exit %v", e)
	}
	<-v.online
	stopped.Process().Kill(syscall.SIGSTOP)
	if e := <-v.exits; e.Fault == nil || e.Fault.Text != "stuck: no answer to a ping for 200ms" {
		t.Errorf("exit %v", e)
	}
	<-v.online
	v.Stop()
	v.Wait()
}

func TestAModuleThatCannotStartIsGivenUp(t *testing.T) {
	v := supervise(t, "broken", Policy{Workers: 2})
	v.start(t)
	r := v.Wait()
	if r.Code != 1 || r.Err == nil || r.Err.Error() != "start workers: no import env.f" {
		t.Errorf("result %+v", r)
	}
}

func TestStartAnswersWhyNothingCanBeForked(t *testing.T) {
	v := supervise(t, "good", Policy{})
	os.Remove(v.cluster.Settings().Exec)
	var p *master.PrepareError
	if err := v.Start(); !errors.As(err, &p) || p.Op != master.StepRead {
		t.Errorf("start: %v", err)
	}
	if r := v.Wait(); !errors.As(r.Err, &p) || r.Code != 1 {
		t.Errorf("result %+v", r)
	}
	if _, err := New(v.cluster, Policy{Workers: -1}, nil); err == nil {
		t.Error("a bad policy was taken")
	}
}
