package master

import (
	"time"

	"github.com/wcluster/wcluster/abi"
)

// A worker that is woken for a connection and computes before it accepts leaves the connection waiting, since with
// EPOLLEXCLUSIVE the kernel wakes no other; one that is woken and then leaves does as well. The watch sees the first on
// the scoreboards and nudges the others, once for each time that a worker is lost in its guest; and it nudges whoever
// waits while a connection waits as well. While nothing comes, it waits in epoll and costs nothing: it looks only from the
// arrival of a connection until all has been still for a while.

const (
	// watchTick is how often the scoreboards are looked at, and how long a worker must have been in its guest without
	// a host call to count as lost: an ordinary request takes less.
	watchTick = 5 * time.Millisecond

	// mendLooks is in how many looks the listeners are looked at themselves.
	mendLooks = 20

	// watchStill is how long nothing must have moved before the watch goes back to waiting.
	watchStill = time.Second

	// burstAfter is after the first arrival when the watch looks whether more has come than is being taken: all that come
	// at once wake few, since the kernel wakes nobody new once the last of them has arrived, and who was woken leaves some
	// for the others.
	burstAfter = time.Millisecond

	// A worker that waits while a connection waits too is nudged at once: the wake-up may have gone to another, who left
	// some. strandedAfter is how long later it is nudged again, if something has waited at every look, and then after
	// twice the time, up to watchStill: there are guests that take no more connections because they have enough.
	strandedAfter = 4 * watchTick
)

// glance is what the watch remembers of a worker.
type glance struct {
	calls  uint64
	since  time.Time // calls and state are the same since
	lost   bool
	seenAt int // the look in which it was last there
}

// look decides what a glance at a worker means. moved is whether it did something since the last one; lost is true
// once for each time that it has been in its guest for watchTick.
func (g *glance) look(calls uint64, state abi.State, now time.Time) (moved, lost bool) {
	switch {
	case calls != g.calls || state != abi.StateGuest:
		moved = calls != g.calls
		g.calls, g.since, g.lost = calls, now, false
	case !g.lost && now.Sub(g.since) >= watchTick:
		g.lost, lost = true, true
	}
	return moved, lost
}

// stranding is what the watch remembers of connections that wait.
type stranding struct {
	since    time.Time     // something has waited at every look since; zero: nothing waits
	patience time.Duration // until the next nudge
}

// look decides whether to nudge whoever waits.
func (s *stranding) look(waiting bool, now time.Time) (nudge bool) {
	switch {
	case !waiting:
		*s = stranding{}
	case s.since.IsZero():
		s.since, s.patience = now, strandedAfter
		return true
	case now.Sub(s.since) >= s.patience:
		s.since, s.patience = now, min(2*s.patience, watchStill)
		return true
	}
	return false
}

// run is the watch's goroutine; it ends with stop.
func (w *watch) run() {
	defer close(w.done)
	for w.sleep() {
		w.cluster.mendListeners()
		w.look()
	}
}

// look looks every tick, until nothing has moved for watchStill.
func (w *watch) look() {
	if !w.pause(burstAfter) {
		return
	}
	if w.cluster.registry.anyWaiting() {
		w.cluster.nudgeOthers(nil)
	}
	tick := time.NewTimer(watchTick)
	defer tick.Stop()
	round := round{glances: map[*Worker]*glance{}}
	still := time.Now()
	for {
		select {
		case now := <-tick.C:
			if round.look(w.cluster, now) {
				still = now
			}
			if round.n%mendLooks == 0 {
				w.cluster.mendListeners()
			}
			if now.Sub(still) > watchStill {
				return
			}
			tick.Reset(pace(now.Sub(still)))
		case <-w.cluster.life.Done():
			return
		}
	}
}

// pace is when to look again after nothing has moved for so long. Connections may wait for as long as all guests are full;
// that must not keep the master busy.
func pace(still time.Duration) time.Duration {
	if still > watchStill/10 {
		return 10 * watchTick
	}
	return watchTick
}

// pause answers false when the cluster is closed meanwhile.
func (w *watch) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.cluster.life.Done():
		return false
	}
}

// round is what is remembered from look to look.
type round struct {
	n       int
	glances map[*Worker]*glance
	strands stranding
}

func (r *round) look(c *Cluster, now time.Time) (moved bool) {
	r.n++
	waiting := c.registry.anyWaiting()
	rescue := r.strands.look(waiting, now)
	for _, worker := range c.Workers() {
		if !worker.listens.Load() {
			continue
		}
		g := r.glances[worker]
		if g == nil {
			g = &glance{since: now}
			r.glances[worker] = g
		}
		g.seenAt = r.n
		calls, state := worker.board.pulse()
		workerMoved, lost := g.look(calls, state, now)
		moved = moved || workerMoved
		if lost && waiting {
			c.nudgeOthers(worker)
		}
		if rescue && state == abi.StateWaiting {
			worker.nudge()
		}
	}
	for worker, g := range r.glances {
		if g.seenAt != r.n {
			delete(r.glances, worker)
		}
	}
	return moved
}

// nudgeOthers asks all workers but one, if it is not nil, to look at their listeners. One that dies may have been woken for a connection
// and not have accepted it: with EPOLLEXCLUSIVE no other would hear of it.
func (c *Cluster) nudgeOthers(but *Worker) {
	for _, w := range c.Workers() {
		if w != but && w.listens.Load() {
			w.nudge()
		}
	}
}
