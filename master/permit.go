package master

import (
	"errors"
	"fmt"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/abi/ipc"
)

// conversation is what the master remembers of its talk with a worker, to judge the next frame by. abi.Permitted says
// which kinds a phase allows; the rest, who was asked and who was told what, is here. Guarded by Worker.mu.
type conversation struct {
	phase    abi.Phase
	isMaster bool // it plays the master role
	over     bool // fault or drained has come: the channel closes next
	goodbye  bool // disconnect is to be sent as soon as the worker is online
	pings    map[uint32]chan<- struct{}
	lastPing uint32
	grants   []grant
	opens    map[socketKey]uint32
}

// grant is a socket that the worker was given and has not said to listen on yet.
type grant struct {
	address abi.Address // as the worker was told
	told    ListeningAddress
}

const (
	// maxPings bounds pings without an answer. A worker that is asked more often does not become livelier.
	maxPings = 16

	// maxGrants bounds sockets that a worker has asked for and not listened on. An honest host says so at once.
	maxGrants = abi.MaxPreopens + 64

	// maxOpens bounds the different any-port addresses that a worker may listen on.
	maxOpens = 256
)

// A violation ends the worker. All of them wrap abi.ErrFrame, like those that package ipc finds.
func violation(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{abi.ErrFrame}, args...)...)
}

// permit judges a frame by the phase, before its body is looked at.
func (t *conversation) permit(f *ipc.Frame) error {
	switch {
	case t.over:
		return violation("%v after the last frame", f.Kind)
	case !abi.Permitted(t.phase, f.Kind):
		return violation("%v is not permitted while %v", f.Kind, t.phase)
	case t.isMaster && f.Kind == abi.KindMessage, !t.isMaster && (f.Kind == abi.KindRequest || f.Kind == abi.KindPost):
		return violation("%v is not of this role", f.Kind)
	case len(f.FDs) > 0:
		return violation("%v with descriptors", f.Kind)
	default:
		return nil
	}
}

// asked takes a pong's seq off the list.
func (t *conversation) asked(seq uint32) (chan<- struct{}, error) {
	answer, ok := t.pings[seq]
	if !ok {
		return nil, violation("pong %d, which nobody asked for", seq)
	}
	delete(t.pings, seq)
	return answer, nil
}

// granted takes the grant that a listening frame speaks of off the list. The event tells the master's own record of
// the socket, not the worker's word.
func (t *conversation) granted(a abi.Address) (ListeningAddress, error) {
	for i, g := range t.grants {
		if g.address == a {
			t.grants = append(t.grants[:i], t.grants[i+1:]...)
			return g.told, nil
		}
	}
	return ListeningAddress{}, violation("listening on %q, which the worker was not given, or has said before", a)
}

// mayListen says whether the worker may ask for such a socket now; the answer to the guest if not.
func (w *Worker) mayListen(l *abi.Listen) abi.Errno {
	w.mu.Lock()
	leaving, crowded := w.phase.leaving(), len(w.talk.grants) >= maxGrants || len(w.talk.opens) >= maxOpens
	w.mu.Unlock()
	settings := w.cluster.settingsNow()
	switch {
	case leaving:
		return abi.ECANCELED
	case l.Address.Check() != nil || l.Backlog < 0 || l.Flags&^abi.ListenIPv6Only != 0:
		return abi.EINVAL
	case crowded:
		return abi.EMFILE
	case !settings.grants(l.Address):
		return abi.EACCES
	default:
		return abi.Success
	}
}

// grants is the settings' policy on what guests may listen on.
func (s *Settings) grants(a abi.Address) bool {
	if a.Network == "fd" && !s.listsFD(a.Fd) {
		return false
	}
	return s.MayListen == nil || s.MayListen(a)
}

func (s *Settings) listsFD(n int) bool {
	for _, fd := range s.FDs {
		if fd == n {
			return true
		}
	}
	for _, l := range s.Listen {
		if l.Address.Network == "fd" && l.Address.Fd == n {
			return true
		}
	}
	return false
}

// pacer bounds the control frames that are taken from one worker: controlRate a second, as many at once. Beyond it
// the worker's channel is read more slowly; a guest that calls listen in a loop is not worth a death. Messages are
// bounded by the allowance. Used by the reading goroutine alone.
type pacer struct {
	tokens float64
	last   time.Time
}

const controlRate = 1000

// delay is how long to wait before the next control frame is taken.
func (p *pacer) delay(now time.Time) time.Duration {
	if p.last.IsZero() {
		p.tokens = controlRate
	} else {
		p.tokens = min(controlRate, p.tokens+now.Sub(p.last).Seconds()*controlRate)
	}
	p.last = now
	p.tokens--
	if p.tokens >= 0 {
		return 0
	}
	return time.Duration(-p.tokens / controlRate * float64(time.Second))
}

// errTooManyPings is what Ping answers when maxPings are without an answer.
var errTooManyPings = errors.New("too many pings without an answer")
