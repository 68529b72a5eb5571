package master

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// EventKind says what happened.
type EventKind uint8

// The events, in the order of a cluster's and a worker's life.
const (
	EventSetup         EventKind = 1 + iota // the settings took effect; Event.Settings
	EventFork                               // a worker was forked
	EventOnline                             // its guest is about to start
	EventListening                          // its guest waits for connections on a socket; Event.Address
	EventMessage                            // its guest sent a message; Event.Message
	EventDisconnecting                      // it was told to leave, or its guest chose to
	EventDisconnect                         // its channel has closed: nothing more comes from it
	EventExit                               // its process has ended; Event.Exit
	EventDeath                              // the older name of exit, emitted right after it
	eventEnd
)

var eventNames = [eventEnd]string{
	EventSetup: "setup", EventFork: "fork", EventOnline: "online", EventListening: "listening", EventMessage: "message",
	EventDisconnecting: "disconnecting", EventDisconnect: "disconnect", EventExit: "exit", EventDeath: "death",
}

// String is the event's name in the cluster API, such as "online".
func (k EventKind) String() string {
	if k == 0 || k >= eventEnd {
		return "event " + strconv.Itoa(int(k))
	}
	return eventNames[k]
}

// Event is what a handler is told. Fields that do not belong to Kind are zero.
type Event struct {
	Kind     EventKind
	Worker   *Worker          // whose event it is; nil for setup
	Address  ListeningAddress // listening
	Message  []byte           // message: the handlers' own, to keep; several handlers of one event share it
	Exit     *Exit            // exit, death: the same value in both
	Settings *Settings        // setup: as they took effect
}

// ListeningAddress is where a worker listens.
type ListeningAddress struct {
	Address     string // IP address, or the path of a unix socket ("@name" when abstract)
	Port        int    // -1 for a unix socket
	AddressType string // "tcp4", "tcp6" or "unix"
	Fd          int    // the master's descriptor that the guest or the settings named with fd:N, else -1
}

// String is "127.0.0.1:8000", "[::]:8000" or the path.
func (a ListeningAddress) String() string {
	if a.AddressType == "unix" {
		return a.Address
	}
	return net.JoinHostPort(a.Address, strconv.Itoa(a.Port))
}

// spec is the address as abi.ParseAddress reads it.
func (a ListeningAddress) spec() string {
	if a.AddressType == "unix" {
		return "unix://" + a.Address
	}
	return "tcp://" + a.String()
}

// Exit tells how a worker's process ended.
type Exit struct {
	Code     int            // exit code, or -1 when a signal ended it
	Signal   syscall.Signal // the signal that ended it, or 0
	Fault    *Fault         // why, where it is known beyond code and signal; else nil
	Suicide  bool           // it left because it was told to, or because its guest chose to
	Cut      int            // connections that were still open at the end of a drain
	Duration time.Duration  // from fork to end
}

// String is "exit code 42", "signal SIGKILL", with the fault's text after a colon.
func (e *Exit) String() string {
	s := "exit code " + strconv.Itoa(e.Code)
	if e.Signal != 0 {
		s = "signal " + signalName(e.Signal)
	}
	if e.Fault != nil {
		s += ": " + e.Fault.Text
	}
	return s
}

// Fault is why a worker ended: as its process told it, or as the master judged it. See abi.Fault for the fields.
type Fault = abi.Fault

// Reasons of a Fault that the master or a supervisor gives; those of abi (trap, start, limit, sandbox, protocol, host) are the
// others.
// abi.FaultProtocol in an Exit means that the worker broke the protocol, if it is the master that ended it.
const (
	FaultStuck   abi.FaultReason = "stuck"   // it did not answer or made no progress within a limit
	FaultOverdue abi.FaultReason = "overdue" // it did not leave in time after it was told to
)

// Handler is called from the dispatcher.
type Handler func(Event)

// handlers are the subscriptions of a cluster or a worker. The lists are copied on write, so that emit walks one
// without a lock while handlers come and go.
type handlers struct {
	mu   sync.Mutex
	list [eventEnd][]*subscription
}

type subscription struct {
	call Handler
	once bool
	off  atomic.Bool
}

// on subscribes; kinds that do not exist are a mistake in the caller's program.
func (h *handlers) on(kind EventKind, call Handler, once bool) (off func()) {
	if kind == 0 || kind >= eventEnd {
		panic("master: On with " + kind.String())
	}
	s := &subscription{call: call, once: once}
	h.mu.Lock()
	h.list[kind] = append(slices.Clip(h.list[kind]), s)
	h.mu.Unlock()
	return func() { h.remove(kind, s) }
}

func (h *handlers) remove(kind EventKind, s *subscription) {
	s.off.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list[kind] = slices.DeleteFunc(slices.Clone(h.list[kind]), func(o *subscription) bool { return o == s })
}

// emit calls the handlers of e.Kind in the order in which they were attached. One that is taken off meanwhile is not
// called any more; one that is attached meanwhile hears of the next event.
func (h *handlers) emit(e Event) {
	h.mu.Lock()
	list := h.list[e.Kind]
	h.mu.Unlock()
	for _, s := range list {
		if s.off.Load() {
			continue
		}
		if s.once {
			h.remove(e.Kind, s)
		}
		s.call(e)
	}
}
