package supervisor

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/master"
)

// Supervisor keeps the workers of one cluster alive, until it is told to stop or none is left to keep.
type Supervisor struct {
	cluster *master.Cluster
	log     func(Note)
	core    *core // the loop's own, once it runs
	every   time.Duration
	wake    chan struct{} // capacity 1: something was posted
	done    chan struct{} // closed when the loop has ended
	off     []func()

	mu     sync.Mutex // guards the fields below
	posted []input
	status Status
	result Result
	ended  bool
}

// input is something for the loop to tell the core.
type input func(now time.Time) []action

const (
	// Looks at the workers come ten times in the shortest limit, but neither more often than lookMost, which would cost
	// more than it tells, nor more seldom than lookLeast.
	looksPerLimit = 10
	lookMost      = 10 * time.Millisecond
	lookLeast     = time.Second
)

// New makes a supervisor for a cluster that was set up. It does nothing before Start. log, if not nil, is called for what
// is worth a line, from one goroutine; what it takes delays the supervisor. The error says what is wrong with the policy.
func New(c *master.Cluster, p Policy, log func(Note)) (*Supervisor, error) {
	p, err := p.normalize(c.Settings().CPUs)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = func(Note) {}
	}
	s := &Supervisor{
		cluster: c, log: log,
		core:  newCore(p, time.Now(), rand.Float64),
		every: lookEvery(p),
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	s.status = s.core.status()
	return s, nil
}

func lookEvery(p Policy) time.Duration {
	every := lookLeast
	for _, limit := range []time.Duration{p.Timeout, p.StartTimeout} {
		if limit > 0 {
			every = min(every, max(limit/looksPerLimit, lookMost))
		}
	}
	return every
}

// Start forks the workers and returns. When the first cannot be forked it answers that error, and the supervisor is over;
// when a later one cannot, it is tried again like one that died. To be called once.
func (s *Supervisor) Start() error {
	s.off = []func(){
		s.cluster.On(master.EventOnline, func(e master.Event) {
			s.post(func(now time.Time) []action { s.core.online(e.Worker.ID(), now); return nil })
		}),
		s.cluster.On(master.EventListening, func(e master.Event) {
			s.post(func(time.Time) []action { s.core.listening(e.Worker.ID()); return nil })
		}),
		s.cluster.On(master.EventExit, func(e master.Event) {
			s.post(func(now time.Time) []action { return s.core.exited(e.Worker.ID(), e.Exit, now) })
		}),
	}
	first, err := s.cluster.Fork()
	if err != nil {
		s.finish(Result{Code: 1, Err: err})
		return err
	}
	s.core.forked(0, first.ID(), time.Now())
	go s.run()
	return nil
}

// Shutdown lets every worker finish, as Cluster.Disconnect does, and forks no other. Wait answers when all are gone. A
// second call does nothing.
func (s *Supervisor) Shutdown() {
	s.post(func(time.Time) []action {
		if !s.core.stopping {
			s.core.stop()
			s.disconnect()
		}
		return nil
	})
}

// Stop kills every worker at once, also during a Shutdown. Wait answers when all are gone.
func (s *Supervisor) Stop() {
	s.post(func(time.Time) []action {
		stopping := s.core.stopping
		s.core.stop()
		for _, w := range s.cluster.Workers() {
			w.Destroy()
			_ = w.Process().Kill(syscall.SIGKILL) // it may have ended
		}
		if !stopping {
			s.disconnect()
		}
		return nil
	})
}

func (s *Supervisor) disconnect() {
	s.cluster.Disconnect(func() { s.post(func(time.Time) []action { return s.core.over() }) })
}

// Done is closed when it is over: after Shutdown or Stop, when no worker is left that the policy would replace, or when
// none could start.
func (s *Supervisor) Done() <-chan struct{} { return s.done }

// Wait waits for Done. Workers may be left if none could start: the cluster is the caller's to close.
func (s *Supervisor) Wait() Result {
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.result
}

// Status is a snapshot of how things are.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// post never waits: the dispatcher calls it.
func (s *Supervisor) post(f input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.posted = append(s.posted, f)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run is the loop. It ends with the core's quit.
func (s *Supervisor) run() {
	look := time.Now().Add(s.every)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		}
		for _, f := range s.take() {
			if s.do(f(time.Now())) {
				return
			}
		}
		now := time.Now()
		if s.do(s.core.tick(now)) {
			return
		}
		if !now.Before(look) {
			look = now.Add(s.every)
			if s.do(s.core.look(s.see(), now, s.every)) {
				return
			}
		}
		s.publish()
		next := look
		if due, ok := s.core.due(); ok && due.Before(next) {
			next = due
		}
		timer.Reset(time.Until(next))
	}
}

func (s *Supervisor) take() []input {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.posted
	s.posted = nil
	return all
}

// see looks at every worker.
func (s *Supervisor) see() []seen {
	var all []seen
	for _, w := range s.cluster.Workers() {
		all = append(all, seen{worker: w.ID(), leaving: w.State() >= master.StateDisconnecting, figures: w.Figures()})
	}
	return all
}

func (s *Supervisor) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = s.core.status()
}

// do carries out what the core wants; what comes of that is done as well. It answers whether it is over.
func (s *Supervisor) do(todo []action) (over bool) {
	for len(todo) > 0 {
		a := todo[0]
		todo = todo[1:]
		switch a := a.(type) {
		case fork:
			todo = append(todo, s.fork(a.slot)...)
		case ping:
			s.ping(a.worker)
		case abort:
			if w := s.cluster.Worker(a.worker); w != nil {
				w.Abort(master.FaultStuck, a.text)
			}
		case note:
			s.log(a.Note)
		case quit:
			s.finish(a.Result)
			return true
		}
	}
	return false
}

func (s *Supervisor) fork(slot int) []action {
	w, err := s.cluster.Fork()
	if err != nil {
		return s.core.forkFailed(slot, err, time.Now())
	}
	return s.core.forked(slot, w.ID(), time.Now())
}

// ping waits for the answer in a goroutine of its own, which ends with the answer or with the worker.
func (s *Supervisor) ping(id uint32) {
	w := s.cluster.Worker(id)
	if w == nil {
		return
	}
	go func() {
		if _, err := w.Ping(context.Background()); err == nil {
			s.post(func(now time.Time) []action { s.core.answeredPing(id, now); return nil })
		}
	}()
}

func (s *Supervisor) finish(r Result) {
	for _, off := range s.off {
		off()
	}
	s.mu.Lock()
	s.ended, s.posted, s.result = true, nil, r
	s.status = s.core.status()
	s.status.State = Ended
	s.mu.Unlock()
	close(s.done)
}
