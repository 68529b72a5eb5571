package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/host/sandbox"
	"github.com/wcluster/wcluster/wasmworker"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// worker is the role "worker": one guest from its configuration to its end.
type worker struct {
	link    *link
	config  abi.Config
	board   *wasmworker.Board
	sys     *wasip1.System
	poller  *wasip1.Poller
	machine *wasmworker.Machine
	cage    *sandbox.Cage

	asked    uint32          // the seq of the last listen
	answered *abi.ListenDone // its answer, once it came
	socket   int             // and the socket that came with it

	result *abi.Result // the answer to the last request, once it came

	writing bool // the poller waits for room in the channel
	left    bool // the guest asked to leave by itself
}

// runWorker answers the exit code of the process.
func runWorker() int {
	// What top(1) shows, and what tells a worker from the command for pkill(1). At most 15 bytes.
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(unsafe.StringData("wcluster-worker\x00"))), 0, 0, 0)
	l, err := newLink(channel)
	if err != nil {
		// The master reports the same from its side; this is for a person who started the role by hand.
		fmt.Fprintln(os.Stderr, "wcluster:", err)
		return 1
	}
	w := &worker{link: l}
	ctx := context.Background()
	if err := w.load(ctx); err != nil {
		return w.fail(err)
	}
	if err := w.control(abi.KindOnline, nil); err != nil {
		return 1
	}
	w.flush()
	w.serve(0) // what came together with the configuration
	result := w.runGuest(ctx)
	if result.Fault != nil {
		_ = w.control(abi.KindFault, result.Fault) // if it cannot be told, the exit code still is
	}
	_ = l.drainOut(farewell)
	return result.Code
}

// exitSandbox is the exit code of a process that could not be locked down: EX_CONFIG of sysexits.h.
const exitSandbox = 78

// errDescriptorLimit begins the text of a fault of FaultLimit.
var errDescriptorLimit = errors.New("descriptor limit")

// fail tells the master why there will be no guest.
func (w *worker) fail(err error) int {
	if errors.Is(err, errMasterGone) {
		return 1
	}
	reason, code := abi.FaultStart, 1
	switch {
	case errors.Is(err, abi.ErrFrame):
		reason = abi.FaultProtocol
	case errors.Is(err, sandbox.ErrLayer):
		reason, code = abi.FaultSandbox, exitSandbox
	case errors.Is(err, errDescriptorLimit):
		reason = abi.FaultLimit
	}
	_ = w.control(abi.KindFault, abi.Fault{Reason: reason, Text: err.Error()})
	_ = w.link.drainOut(farewell)
	return code
}

// load receives the configuration and makes of it a machine whose guest can start.
func (w *worker) load(ctx context.Context) error {
	f, err := w.link.receive()
	if err != nil {
		return err
	}
	if f.Kind != abi.KindConfig {
		f.Close()
		return fmt.Errorf("%w: %v where config was expected", abi.ErrFrame, f.Kind)
	}
	if err := ipc.Decode(f, &w.config); err != nil {
		f.Close()
		return err
	}
	c := &w.config
	if len(f.FDs) != abi.ConfigFDs+len(c.Preopens) {
		f.Close()
		return fmt.Errorf("%w: config with %d descriptors for %d listeners", abi.ErrFrame, len(f.FDs), len(c.Preopens))
	}
	w.link.in.SetMaxMessage(c.MaxMessage)
	w.cage, err = sandbox.Enter(sandbox.Config{Sandbox: c.Sandbox, CodeDir: c.CacheDir, FDs: c.Limits.FDs})
	if err != nil {
		f.Close()
		return err
	}
	module, err := mapModule(f.FDs[0].Int())
	f.FDs[0].Close()
	if err != nil {
		return err
	}
	w.board, err = mapBoard(f.FDs[1].Int())
	f.FDs[1].Close()
	if err != nil {
		return err
	}
	if err := w.open(f.FDs[abi.ConfigFDs:]); err != nil {
		return err
	}
	w.machine = wasmworker.New(wasmworker.Config{
		ID: c.ID, Master: c.Master, Args: c.Args, Env: c.Env, CPUs: uint32(c.CPUs),
		Module: module, CacheDir: w.cage.CodeDir, Debug: c.Debug, Board: w.board,
		MaxMemory: c.Limits.Memory,
	}, w.sys, w.services())
	if err := w.machine.Load(ctx); err != nil {
		return err
	}
	// The machine has copied what it keeps, so the binary's pages need not stay in this process, nor what decoding it
	// left in the heap.
	_ = unix.Munmap(module)
	if len(module) > 1<<20 {
		debug.FreeOSMemory()
	}
	return w.cage.Seal()
}

// stdio is how many standard streams there are.
const stdio = 3

// open makes the guest's descriptors: the standard streams, then the preopened listeners from 3 on. The limit must have
// room for these.
func (w *worker) open(listeners []*ipc.FD) error {
	limits := w.config.Limits
	if given := stdio + len(listeners); limits.FDs > 0 && limits.FDs < given {
		return fmt.Errorf("%w: the guest is given %d descriptors at its start, the limit is %d; raise --max-fds", errDescriptorLimit, given, limits.FDs)
	}
	sys, err := wasip1.New(wasip1.Config{
		Args: w.config.Args, Env: w.config.Env, Figures: &w.board.Figures,
		MaxFDs: limits.FDs, MaxConnections: limits.Connections,
	})
	if err != nil {
		return err
	}
	w.sys, w.poller = sys, sys.Poller()
	for n := range stdio {
		if err := sys.OpenStdio(n); err != nil {
			return err
		}
	}
	for i, l := range listeners {
		address := w.config.Preopens[i].Address
		waited := func() { w.listening(abi.Listening{Address: address, Fd: -1}) }
		if _, errno := sys.OpenListener(l.Take(), true, waited); errno != 0 {
			return fmt.Errorf("open listener %v: %v", address, errno)
		}
	}
	return w.poller.AddSource(w.link.socket, w.serve)
}

// mapBoard maps the scoreboard. Its size is sealed, so that neither side can make the other's access a SIGBUS.
func mapBoard(fd int) (*wasmworker.Board, error) {
	b, err := unix.Mmap(fd, 0, abi.ScoreboardSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map scoreboard: %w", os.NewSyscallError("mmap", err))
	}
	return (*wasmworker.Board)(unsafe.Pointer(&b[0])), nil
}

// services is what the guest's host calls come to.
func (w *worker) services() wasmworker.Services {
	return wasmworker.Services{
		Listen:   w.Listen,
		Send:     w.Send,
		Writable: func() bool { return w.link.out.Queued() < outboxLimit/2 },
		Flush:    w.flush,
		Leave:    w.Leave,
		Destroy:  w.Destroy,
		Request:  w.Request,
		Post:     w.Post,
	}
}

// control queues a control frame of ours.
func (w *worker) control(kind abi.Kind, v any) error { return w.link.out.Control(kind, 0, v) }

// flush sends what the channel takes, and has the poller wait for room if that is not all.
func (w *worker) flush() {
	if w.link.out.Queued() == 0 {
		return
	}
	err := w.link.out.Flush(w.link.socket)
	switch {
	case err == nil && w.writing:
		w.writing = false
		err = w.poller.SetSource(w.link.socket, wasip1.ReadyRead)
	case err == unix.EAGAIN && !w.writing:
		w.writing = true
		err = w.poller.SetSource(w.link.socket, wasip1.ReadyRead|wasip1.ReadyWrite)
	}
	if err != nil && err != unix.EAGAIN {
		w.orphaned()
	}
}

// orphaned ends the process when there is nobody to work for any more.
func (w *worker) orphaned() { os.Exit(1) }

// broken ends the process after the master broke the protocol, or this process could not go on.
func (w *worker) broken(err error) {
	os.Exit(w.fail(err))
}

// graceful is the drain's bound.
func (w *worker) graceful() int64 {
	return max(w.config.GracefulTimeout, int64(time.Millisecond))
}
