//go:build hostile

package host

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/wasmworker"
	"github.com/wcluster/wcluster/wasmworker/wasip1"
)

// A worker that is built with the tag "hostile" does, when its guest's environment says so, what a guest could that has
// broken out of Wasm and owns the process: any system call, natively, from behind the finished sandbox. It is for tests
// alone. The environment:
//
//	ATTACK=name     what to try; "list" tells the names. Without it the guest runs as in any other worker
//	SIBLING=pid     another worker of the same cluster
//	MASTER=pid      the master
//
// It begins when the master sends a message: then the master has looked whether the sandbox is on. How it went is a message
// back, such as "openat: EPERM", and the process ends. Each attack asks for something
// that does no harm if it is granted, where the kernel decides on that with the same checks: signal 0 instead of SIGKILL,
// no file instead of a module.

// attack is one thing to try.
type attack struct {
	name string
	call string // whose answer is told
	gain string // what would be won
	try  func(*prisoner) error
}

// attacks are all of them, by concern.
var attacks = slices.Concat(
	fileAttacks, mountAttacks,
	processAttacks, signalAttacks, siblingAttacks,
	listenerAttacks, socketAttacks, connectionAttacks, channelAttacks,
	memoryAttacks, privilegeAttacks, kernelAttacks, machineAttacks,
)

// prisoner is the broken-out guest.
type prisoner struct {
	worker          *worker
	listener        int // the descriptor of a socket that others listen on as well
	sibling, master int // pids
	stays           bool
	kept            []any
}

// runGuest attacks instead of running the guest, if it is told to.
func (w *worker) runGuest(ctx context.Context) wasmworker.Result {
	name := w.environment("ATTACK")
	if name == "" {
		return w.machine.Run(ctx)
	}
	for w.machine.Inbox.Empty() {
		w.poller.WaitOnce(wasip1.Forever)
	}
	if name == "list" {
		w.tell(listAttacks())
		return wasmworker.Result{}
	}
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
	if i < 0 {
		w.tell("no such attack: " + name)
		return wasmworker.Result{}
	}
	p := &prisoner{worker: w, listener: findListener()}
	p.sibling, _ = strconv.Atoi(w.environment("SIBLING"))
	p.master, _ = strconv.Atoi(w.environment("MASTER"))
	w.tell(attacks[i].call + ": " + wordFor(attacks[i].try(p)))
	if p.stays {
		return w.machine.Run(ctx)
	}
	return wasmworker.Result{}
}

func (w *worker) environment(key string) (value string) {
	for _, kv := range w.config.Env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			value = v
		}
	}
	return value
}

func (w *worker) tell(text string) {
	_ = w.Send([]byte(text)) // the test sees that nothing came
	w.flush()
}

// listAttacks is a line for each: its name, a tab, and what would be won.
func listAttacks() string {
	var lines []string
	for _, a := range attacks {
		lines = append(lines, a.name+"\t"+a.gain)
	}
	return strings.Join(lines, "\n")
}

// wordFor is an errno's name, or what else there is to say of an attack.
func wordFor(err error) string {
	errno, ok := err.(unix.Errno)
	switch {
	case err == nil:
		return "done"
	case ok && unix.ErrnoName(errno) != "":
		return unix.ErrnoName(errno)
	default:
		return err.Error()
	}
}

// findListener looks through the descriptors, as one would who does not know the host's tables. -1: there is none.
func findListener() int {
	for fd := channel + 1; fd < 64; fd++ {
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 1 {
			return fd
		}
	}
	return -1
}

// ask makes a system call past everything that Go or the host would check.
func ask(call uintptr, args ...uintptr) error {
	_, err := askFor(call, args...)
	return err
}

// askFor is ask for a call whose result matters.
func askFor(call uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	result, _, errno := unix.RawSyscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return result, errno
	}
	return result, nil
}

// asks is the try of an attack that is one call with arguments that are known beforehand.
func asks(call uintptr, args ...uintptr) func(*prisoner) error {
	return func(*prisoner) error { return ask(call, args...) }
}

// each tries all of some calls and answers their one answer, or all of them if they differ.
func each(tries ...func() error) error {
	var words []string
	var last error
	for _, try := range tries {
		last = try()
		words = append(words, wordFor(last))
	}
	if len(slices.Compact(slices.Clone(words))) == 1 {
		return last
	}
	return fmt.Errorf("%s", strings.Join(words, ", "))
}

// minus is a negative argument.
func minus(n int) uintptr { return uintptr(-n) }
