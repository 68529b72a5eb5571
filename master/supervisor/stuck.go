package supervisor

import (
	"fmt"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// progress is what is known of a worker's liveness. A guest that runs must make host calls, which the scoreboard shows;
// a worker whose guest waits must answer pings, which shows that its process is not stopped. A file call may take as
// long as the file system likes.
type progress struct {
	calls    uint64
	since    time.Time // the guest runs without a host call since
	pinged   bool      // an answer is awaited
	answered time.Time // it has answered, or had no reason to, at
}

// seen is what a look at a worker tells.
type seen struct {
	worker  uint32
	leaving bool // told to leave: the master has a limit for that
	figures master.Figures
}

// look judges all workers that are there. It is to be called every interval; when it comes late, because this process was
// held up, that time is nobody's fault and does not count.
func (c *core) look(all []seen, now time.Time, interval time.Duration) (todo []action) {
	late := now.Sub(c.checked) - 2*interval
	c.checked = now
	for _, v := range all {
		s := c.find(v.worker)
		if s == nil || v.leaving {
			continue
		}
		if late > 0 {
			s.delay(late)
		}
		if text := c.judge(s, v.figures, now); text != "" {
			todo = append(todo, abort{v.worker, text})
			s.progress = progress{since: now, answered: now} // the exit is on its way
			continue
		}
		if c.wantsPing(s, v.figures, now) {
			s.progress.pinged = true
			todo = append(todo, ping{v.worker})
		}
	}
	return todo
}

func (s *slot) delay(d time.Duration) {
	s.forked = s.forked.Add(d)
	s.progress.since = s.progress.since.Add(d)
	s.progress.answered = s.progress.answered.Add(d)
}

// judge answers why a worker is to be ended, or "".
func (c *core) judge(s *slot, f master.Figures, now time.Time) string {
	p := &s.progress
	if !s.online {
		if limit := c.policy.StartTimeout; limit > 0 && now.Sub(s.forked) >= limit {
			return fmt.Sprintf("stuck: not online %v after its start", limit)
		}
		return ""
	}
	limit := c.policy.Timeout
	if f.Calls != p.calls || f.Activity != abi.StateGuest {
		p.calls, p.since = f.Calls, now
	}
	// A paused worker's answer may be there, and nobody reads it.
	if f.Activity != abi.StateWaiting || f.Paused {
		p.answered = now
	}
	switch {
	case limit <= 0:
		return ""
	case now.Sub(p.since) >= limit:
		return fmt.Sprintf("stuck: no host call for %v", limit)
	case p.pinged && now.Sub(p.answered) >= limit:
		return fmt.Sprintf("stuck: no answer to a ping for %v", limit)
	default:
		return ""
	}
}

// wantsPing is whether a waiting worker is due for a ping: half of the limit after the last sign of life, so that both
// halves together are the limit.
func (c *core) wantsPing(s *slot, f master.Figures, now time.Time) bool {
	return c.policy.Timeout > 0 && s.online && !s.progress.pinged &&
		f.Activity == abi.StateWaiting && now.Sub(s.progress.answered) >= c.policy.Timeout/2
}

// answeredPing says that a worker has answered.
func (c *core) answeredPing(worker uint32, now time.Time) {
	if s := c.find(worker); s != nil {
		s.progress.pinged, s.progress.answered = false, now
	}
}
