package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/master"
)

// core decides. It is told what happened and when, and answers what is to be done; it does nothing itself, knows no
// clock and no cluster, and runs in one goroutine.
type core struct {
	policy Policy
	chance func() float64

	slots      []*slot
	window     []time.Time // restarts within the last Period, oldest first
	restarts   int
	everWorked bool // a worker has listened, or lived for a while
	stopping   bool
	result     *Result // once it is over
	code       int     // the worst so far

	degraded bool
	pace     time.Duration // degraded: between two restarts
	next     time.Time     // degraded: no restart before
	lastFail time.Time
	lastNote time.Time
	unsaid   Note // degraded: what the next note will say

	checked time.Time // the last look at the workers
}

// slot is the place of a worker.
type slot struct {
	index    int
	phase    slotPhase
	due      time.Time // waiting: when to fork
	worker   uint32    // up: its id
	forked   time.Time // up
	online   bool      // up
	calm     bool      // up: it is old enough to have reset the delays
	fails    int       // workers in a row that did not become healthy
	noStart  bool      // its worker failed by itself before it had worked
	last     uint32    // the id of the worker before this one, or 0
	excused  bool      // waiting: the worker before had worked, so that replacing it is no sign of a crash loop
	listened bool      // up
	progress progress
}

type slotPhase uint8

const (
	waiting slotPhase = iota // a worker is to be forked at due
	up                       // it has a worker
	over                     // it gets no worker any more
)

// An action is what the core wants done.
type action interface{ isAction() }

type (
	// fork wants a worker for a slot; the answer is forked or forkFailed, before anything else.
	fork struct{ slot int }
	// ping wants answeredPing, if the worker answers.
	ping struct{ worker uint32 }
	// abort wants a worker killed; its exit will come.
	abort struct {
		worker uint32
		text   string
	}
	// note is for the log.
	note struct{ Note }
	// quit is the last action.
	quit struct{ Result }
)

func (fork) isAction()  {}
func (ping) isAction()  {}
func (abort) isAction() {}
func (note) isAction()  {}
func (quit) isAction()  {}

func newCore(p Policy, now time.Time, chance func() float64) *core {
	c := &core{policy: p, chance: chance, checked: now}
	for i := range p.Workers {
		c.slots = append(c.slots, &slot{index: i, due: now})
	}
	return c
}

// forked says that a slot has its worker.
func (c *core) forked(i int, worker uint32, now time.Time) []action {
	s := c.slots[i]
	s.phase, s.worker, s.forked, s.online, s.listened, s.calm = up, worker, now, false, false, false
	s.progress = progress{}
	if s.last == 0 || c.degraded {
		return nil
	}
	return []action{note{Note{Kind: NoteReplaced, Worker: worker, Replaces: s.last}}}
}

// forkFailed says that a slot has not. A cluster that was closed or is disconnecting will never give it one.
func (c *core) forkFailed(i int, err error, now time.Time) []action {
	s := c.slots[i]
	if c.stopping || errors.Is(err, master.ErrClosed) || errors.Is(err, master.ErrDisconnecting) {
		s.phase = over
		return c.maybeOver()
	}
	s.excused = false
	delay := c.again(s, now)
	return c.say(Note{Kind: NoteForkError, Err: err, Delay: delay}, now)
}

func (c *core) find(worker uint32) *slot {
	for _, s := range c.slots {
		if s.phase == up && s.worker == worker {
			return s
		}
	}
	return nil
}

// online says that a worker's guest is about to start.
func (c *core) online(worker uint32, now time.Time) {
	if s := c.find(worker); s != nil {
		s.online = true
		s.progress = progress{since: now, answered: now}
	}
}

// listening says that a worker's guest waits for connections: it works.
func (c *core) listening(worker uint32) {
	if s := c.find(worker); s != nil {
		s.listened, c.everWorked = true, true
	}
}

// exited says how a worker ended.
func (c *core) exited(worker uint32, e *master.Exit, now time.Time) []action {
	s := c.find(worker)
	if s == nil {
		return nil
	}
	age := now.Sub(s.forked)
	c.everWorked = c.everWorked || age >= worked
	s.last = worker
	if !c.replaces(e) {
		s.phase = over
		c.code = max(c.code, codeOf(e))
		return append(c.say(Note{Kind: NoteEnd, Worker: worker, Exit: e}, now), c.maybeOver()...)
	}
	s.noStart = !s.listened && e.Fault != nil && slices.Contains(startReasons, e.Fault.Reason)
	if c.nobodyStarts() {
		return c.giveUp(worker, e)
	}
	s.excused = s.online && (age >= healthy || age >= served && killedFromOutside(e))
	delay := c.again(s, now)
	return c.say(Note{Kind: NoteRestart, Worker: worker, Exit: e, Delay: delay}, now)
}

// killedFromOutside is whether a worker ended by no doing of its own that is known: somebody sent it a signal.
func killedFromOutside(e *master.Exit) bool { return e.Signal != 0 && e.Fault == nil }

// replaces is the policy.
func (c *core) replaces(e *master.Exit) bool {
	switch {
	case c.stopping, e.Suicide, c.policy.Restart == Never:
		return false
	case c.policy.Restart == OnFailure:
		return e.Code != 0 || e.Signal != 0 || e.Fault != nil
	default:
		return true
	}
}

// startReasons are faults that, before a worker has listened, say that its start has failed.
var startReasons = []abi.FaultReason{abi.FaultStart, abi.FaultTrap, abi.FaultLimit, abi.FaultSandbox}

// nobodyStarts is whether every slot's worker has failed in its start and none has ever worked: then the module or the
// machine is at fault, and trying again would only say so again. An exit code alone does not count as such a failure: a
// guest may find that what it needs is not there yet.
func (c *core) nobodyStarts() bool {
	for _, s := range c.slots {
		if !s.noStart {
			return false
		}
	}
	return !c.everWorked
}

func (c *core) giveUp(worker uint32, e *master.Exit) []action {
	for _, s := range c.slots {
		if s.phase == waiting {
			s.phase = over
		}
	}
	c.find(worker).phase = over
	c.stopping = true
	c.code = max(c.code, codeOf(e), 1)
	n := note{Note{Kind: NoteGivenUp, Worker: worker, Exit: e}}
	r := Result{Code: c.code, Err: fmt.Errorf("start workers: %s", e.Fault.Text)}
	c.result = &r
	return []action{n, quit{r}}
}

// again plans the next try of a slot. A worker that had worked makes nobody wait longer.
func (c *core) again(s *slot, now time.Time) time.Duration {
	if s.excused {
		s.fails = 0
		delay := c.policy.backoff(1, c.chance())
		s.phase, s.due = waiting, now.Add(delay)
		return delay
	}
	s.fails++
	delay := c.policy.backoff(s.fails, c.chance())
	s.phase, s.due = waiting, now.Add(delay)
	c.lastFail = now
	if c.degraded {
		c.pace = min(2*c.pace, c.policy.BackoffMax)
	}
	return delay
}

// maybeOver ends the work when no slot will have a worker any more.
func (c *core) maybeOver() []action {
	for _, s := range c.slots {
		if s.phase != over {
			return nil
		}
	}
	if c.stopping || c.result != nil {
		return nil // the cluster says when it is disconnected
	}
	return c.over()
}

// over ends the work.
func (c *core) over() []action {
	if c.result != nil {
		return nil
	}
	c.result = &Result{Code: c.code}
	return []action{quit{*c.result}}
}

// stop says that nothing is to be replaced any more. The cluster is told by whoever calls, and over when it is done.
func (c *core) stop() {
	c.stopping = true
	for _, s := range c.slots {
		if s.phase == waiting {
			s.phase = over
		}
	}
}

// tick does what is due.
func (c *core) tick(now time.Time) (todo []action) {
	if c.result != nil {
		return nil
	}
	c.calm(now)
	for _, s := range c.slots {
		if s.phase == waiting && !now.Before(s.due) {
			todo = append(todo, c.refork(s, now)...)
		}
	}
	return append(todo, c.recover(now)...)
}

// refork forks for a slot, if the rate of restarts allows it: never more than Intensity in any Period. A restart that is
// excused counts for nothing there.
func (c *core) refork(s *slot, now time.Time) (todo []action) {
	switch {
	case s.excused:
		c.restarts++
		return c.fork(s)
	case s.fails == 0: // its first worker is no restart
		return c.fork(s)
	}
	for len(c.window) > 0 && now.Sub(c.window[0]) >= c.policy.Period {
		c.window = c.window[1:]
	}
	full := len(c.window) >= c.policy.Intensity
	if full && !c.degraded {
		c.degraded = true
		c.pace = min(c.slowest(), c.policy.BackoffMax)
		c.lastNote = time.Time{}
		todo = c.say(Note{Kind: NoteDegraded}, now)
	}
	if full {
		c.next = later(c.next, c.window[0].Add(c.policy.Period))
	}
	if c.degraded {
		if now.Before(c.next) {
			s.due = c.next
			return todo
		}
		c.next = now.Add(jitter(c.pace, c.chance()))
	}
	c.window = append(c.window, now)
	c.restarts++
	return append(todo, c.fork(s)...)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// fork takes the slot off the list of those that wait, until the answer.
func (c *core) fork(s *slot) []action {
	s.phase, s.worker = up, 0
	return []action{fork{s.index}}
}

// slowest is the rate that Intensity allows for ever, as the time between two restarts.
func (c *core) slowest() time.Duration { return c.policy.Period / time.Duration(c.policy.Intensity) }

// calm notices workers that have become healthy.
func (c *core) calm(now time.Time) {
	for _, s := range c.slots {
		if s.phase == up && s.online && !s.calm && now.Sub(s.forked) >= healthy {
			s.calm, s.fails = true, 0
			c.pace = min(c.slowest(), c.policy.BackoffMax)
		}
	}
}

// recover ends the degraded state after a quiet period: nobody waits for a restart or has just had one, and nobody has
// failed for long.
func (c *core) recover(now time.Time) []action {
	if !c.degraded || now.Sub(c.lastFail) < max(c.policy.Period, healthy) {
		return nil
	}
	for _, s := range c.slots {
		if s.phase == waiting || s.phase == up && !s.calm {
			return nil
		}
	}
	c.degraded, c.window, c.unsaid = false, nil, Note{}
	return []action{note{Note{Kind: NoteRecovered}}}
}

// say makes a note at once, or, in a degraded cluster, lets it count for the next one.
func (c *core) say(n Note, now time.Time) []action {
	if !c.degraded {
		c.unsaid = Note{Worker: n.Worker, Exit: n.Exit, Err: n.Err, Count: 1}
		return []action{note{n}}
	}
	if n.Kind != NoteDegraded {
		c.unsaid = Note{Worker: n.Worker, Exit: n.Exit, Err: n.Err, Count: c.unsaid.Count + 1}
	}
	if !c.lastNote.IsZero() && now.Sub(c.lastNote) < noteInterval {
		return nil
	}
	c.lastNote = now
	out := c.unsaid
	out.Kind = NoteDegraded
	out.Count = max(out.Count, 1)
	c.unsaid.Count = 0
	return []action{note{out}}
}

// due is when tick next has something to do; ok is false when only an input can change that.
func (c *core) due() (at time.Time, ok bool) {
	for _, s := range c.slots {
		if s.phase == waiting && (!ok || s.due.Before(at)) {
			at, ok = s.due, true
		}
	}
	return at, ok
}

func (c *core) state() State {
	switch {
	case c.result != nil:
		return Ended
	case c.stopping:
		return Stopping
	case c.degraded:
		return Degraded
	default:
		return Running
	}
}

func (c *core) status() Status {
	st := Status{State: c.state(), Workers: len(c.slots), Restarts: c.restarts}
	for _, s := range c.slots {
		if s.phase == up {
			st.Alive++
		}
		if s.phase == up && s.online {
			st.Online++
		}
	}
	return st
}
