package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

const (
	// foreignLimit is the share of the used CPU time that other processes may have had in a load; past it the load is
	// repeated.
	foreignLimit = 0.15

	// settleLimit is how long a server may go on working after its first answer before its figures at rest are taken
	// nevertheless.
	settleLimit = 3 * time.Second

	// settleStep is how long it must have used less than settleCores to count as at rest. Some look around now and then
	// for a while after they have had work.
	settleStep  = 100 * time.Millisecond
	settleCores = 0.001
)

// sample is what one server showed in one repetition.
type sample struct {
	Server      string       `json:"server"`
	Repetition  int          `json:"repetition"`
	FirstAnswer float64      `json:"first_answer_ms"`
	Parent      *memory      `json:"parent,omitempty"` // the first process, where it does not serve
	Workers     []memory     `json:"workers"`
	IdleCPU     float64      `json:"idle_cpu"` // cores
	KeepAlive   loadFigures  `json:"keep_alive"`
	Loaded      []memory     `json:"loaded_workers"`  // after it
	Close       *loadFigures `json:"close,omitempty"` // a connection for each request
}

// pids of the workers.
func (s *sample) pids() (ids []int) {
	for _, w := range s.Workers {
		ids = append(ids, w.Pid)
	}
	return ids
}

// loadFigures is what a server showed under a load.
type loadFigures struct {
	wrkFigures
	CPUPerRequest float64 `json:"cpu_us_per_request"`
	Foreign       float64 `json:"foreign_cpu"`           // share of the used CPU time
	Attempt       int     `json:"attempt"`               // this one counted; those before it had more foreign load
	Connections   []int   `json:"connections,omitempty"` // of each worker, in the middle of the load
}

// measurement is how samples are taken.
type measurement struct {
	workers  int
	duration time.Duration // of a load
	idle     time.Duration // over which CPU at rest is taken
	warm     time.Duration // of a load that does not count; 0: none
	attempts int           // at a load
	close    bool          // also load with a connection for each request
	progress *progress
}

// take starts a server, takes its figures, and stops it. Nothing of it is left behind, whatever happens.
func (m *measurement) take(ctx context.Context, w *workshop, s *server, repetition int) (taken *sample, err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c, err := s.command(w, m.workers, port)
	if err != nil {
		return nil, err
	}
	m.progress.step("start")
	p, err := startProcess(s, c, w.made(s.name+".log"), nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if stopErr := p.stop(); err == nil {
			err = stopErr
		}
	}()
	taken = &sample{Server: s.name, Repetition: repetition}
	if err := m.atRest(ctx, p, port, taken); err != nil {
		return nil, err
	}
	if err := m.warmUp(ctx, port); err != nil {
		return nil, p.withLog(err)
	}
	m.progress.step("load")
	keepAlive, err := m.load(ctx, p, port, true)
	if err != nil {
		return nil, err
	}
	taken.KeepAlive = *keepAlive
	if taken.Loaded, err = memories(taken.pids()); err != nil {
		return nil, err
	}
	if m.close {
		m.progress.step("new connections")
		taken.Close, err = m.load(ctx, p, port, false)
	}
	return taken, err
}

// atRest takes what is measured before any load.
func (m *measurement) atRest(ctx context.Context, p *process, port int, into *sample) error {
	first, err := p.firstAnswer(ctx, address(port))
	if err != nil {
		return err
	}
	into.FirstAnswer = milliseconds(first)
	if err := settle(ctx, p); err != nil {
		return err
	}
	all, workers, err := p.family()
	if err != nil {
		return err
	}
	if want := m.processes(p.server); len(workers) != want {
		return p.withLog(fmt.Errorf("%s has %d worker processes, not %d", p.server.name, len(workers), want))
	}
	if into.Workers, err = memories(workers); err != nil {
		return err
	}
	if !p.server.alone {
		mem, err := memoryOf(p.pid)
		if err != nil {
			return err
		}
		into.Parent = &mem
	}
	m.progress.step("rest")
	into.IdleCPU, err = coresUsed(ctx, all, m.idle)
	p.restSockets = socketsOf(workers)
	return err
}

// warmUp gives compilers that work at run time, and heaps that grow, what they wait for.
func (m *measurement) warmUp(ctx context.Context, port int) error {
	if m.warm == 0 {
		return nil
	}
	m.progress.step("warm up")
	w, err := startWrk(ctx, address(port), m.warm, true)
	if err != nil {
		return err
	}
	_, _, err = w.wait()
	return err
}

// processes is how many serve.
func (m *measurement) processes(s *server) int {
	if s.alone {
		return 1
	}
	return m.workers
}

// settle waits until the server is at rest.
func settle(ctx context.Context, p *process) error {
	for end := time.Now().Add(settleLimit); time.Now().Before(end); {
		all, _, err := p.family()
		if err != nil {
			return err
		}
		// A process may end meanwhile, a compiler for instance: not at rest yet.
		if used, err := coresUsed(ctx, all, settleStep); err == nil && used < settleCores {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// coresUsed is the CPU time of processes in a span of time, as a share of it.
func coresUsed(ctx context.Context, ids []int, d time.Duration) (float64, error) {
	start := time.Now()
	before, err := cpuTimes(ids)
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, d); err != nil {
		return 0, err
	}
	after, err := cpuTimes(ids)
	if err != nil {
		return 0, err
	}
	return (after - before).Seconds() / time.Since(start).Seconds(), nil
}

// sleep is for spans of time that are measured over, not for waiting until something has happened.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// load loads the server until an attempt had little foreign load, and returns that; failing that, the least disturbed.
func (m *measurement) load(ctx context.Context, p *process, port int, keepAlive bool) (*loadFigures, error) {
	var best *loadFigures
	var worst wrkFigures // in whichever attempt
	for attempt := 1; attempt <= m.attempts; attempt++ {
		f, err := m.loadOnce(ctx, p, port, keepAlive)
		if err != nil {
			return nil, err
		}
		f.Attempt = attempt
		worst.worst(f.wrkFigures)
		if best == nil || f.Foreign < best.Foreign {
			best = f
		}
		if best.Foreign <= foreignLimit {
			break
		}
		m.progress.step(fmt.Sprintf("load again: %.0f %% of the CPU time went elsewhere", f.Foreign*100))
	}
	best.worst(worst)
	return best, nil
}

func (m *measurement) loadOnce(ctx context.Context, p *process, port int, keepAlive bool) (*loadFigures, error) {
	if err := waitClosed(ctx, p); err != nil {
		return nil, err
	}
	before, err := p.meter()
	if err != nil {
		return nil, err
	}
	w, err := startWrk(ctx, address(port), m.duration, keepAlive)
	if err != nil {
		return nil, err
	}
	// wrk is waited for in any case: stop, which may come next, ends whatever else we have as a child.
	middle, middleErr := m.middle(ctx, p, before.workers, keepAlive)
	figures, own, err := w.wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if ended := p.alive(); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, p.withLog(err)
	}
	if middleErr != nil {
		return nil, middleErr
	}
	after, err := p.meter()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(before.all, after.all) {
		return nil, p.withLog(fmt.Errorf("%s had processes %v before the load and %v after it", p.server.name, before.all, after.all))
	}
	ours := after.server - before.server
	f := &loadFigures{wrkFigures: figures, Connections: middle}
	f.CPUPerRequest = ours.Seconds() * 1e6 / float64(figures.Requests)
	f.Foreign = foreign(after.machine-before.machine, ours+own+after.harness-before.harness)
	return f, nil
}

// foreign is the share of the busy time that was not ours. The two are counted by different clocks, so that it could
// seem to be less than nothing.
func foreign(busy, ours time.Duration) float64 {
	if busy <= ours {
		return 0
	}
	return (busy - ours).Seconds() / busy.Seconds()
}

// meter is a reading before or after a load.
type meter struct {
	all, workers             []int
	server, harness, machine time.Duration
}

func (p *process) meter() (*meter, error) {
	if ended := p.alive(); ended != nil {
		return nil, ended
	}
	r := &meter{}
	var err error
	if r.all, r.workers, err = p.family(); err != nil {
		return nil, err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return nil, fmt.Errorf("read own CPU time: %w", err)
	}
	r.harness = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if r.machine, err = machineBusy(); err != nil {
		return nil, err
	}
	r.server, err = cpuTimes(r.all)
	return r, err
}

// socketsOf counts the sockets of each worker; nil when the kernel does not tell us.
func socketsOf(workers []int) []int {
	var counts []int
	for _, pid := range workers {
		n, err := sockets(pid)
		if err != nil {
			return nil // it has locked itself up; how connections spread is not known then
		}
		counts = append(counts, n)
	}
	return counts
}

// middle waits for half of the load to pass and counts each worker's connections. Those that live for one request alone
// are not counted: the moment would decide.
func (m *measurement) middle(ctx context.Context, p *process, workers []int, keepAlive bool) ([]int, error) {
	if err := sleep(ctx, m.duration/2); err != nil || !keepAlive {
		return nil, err
	}
	return p.connections(workers), p.alive()
}

// connections of each worker: the sockets that it did not have at rest. nil when they are not known.
func (p *process) connections(workers []int) []int {
	counts := socketsOf(workers)
	if len(counts) != len(p.restSockets) {
		return nil
	}
	for i := range counts {
		counts[i] -= p.restSockets[i]
	}
	return counts
}

// waitClosed waits until the server has closed the connections of the load before, so that it does not do so in the next.
func waitClosed(ctx context.Context, p *process) error {
	for end := time.Now().Add(settleLimit); time.Now().Before(end); {
		_, workers, err := p.family()
		if err != nil {
			return err
		}
		left := p.connections(workers)
		if !slices.ContainsFunc(left, func(n int) bool { return n > 0 }) {
			return nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }
