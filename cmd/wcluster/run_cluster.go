//go:build linux

package main

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// running is one run: from the flags to the exit code.
type running struct {
	flags    *runFlags
	cluster  *master.Cluster
	reporter *reporter
	settings master.Settings
	total    summary // the dispatcher's until the cluster is done
	restarts int
	killed   atomic.Int32 // the second signal, or 0

	closing sync.Mutex // guards what follows
	closers []func()   // each ends something at once; may be called more than once
	closed  bool       // closeAll was called
}

func run(f *runFlags, path string, args []string) error {
	surviveClosedPipes()
	settings := f.settings(path, args)
	r := &running{flags: f, settings: settings, cluster: master.New(), reporter: newReporter(os.Stdout, os.Stderr, f.format(), f.onMessage.value == "print")}
	if !f.silent {
		r.settings.Output = r.reporter.output
	}
	if err := r.cluster.SetupMaster(r.settings); err != nil {
		return usage(err)
	}
	return r.run()
}

// format is how things are told.
func (f *runFlags) format() format {
	if f.json {
		return jsonFormat{}
	}
	plain := os.Getenv("NO_COLOR") != ""
	return &textFormat{
		colourOut: !plain && isTerminal(os.Stdout),
		colourErr: !plain && isTerminal(os.Stderr),
		graceful:  f.graceful.value,
	}
}

func (r *running) run() error {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	flushed := make(chan struct{})
	sigs := onSignals(func(s syscall.Signal) {
		r.reporter.tell(record{Event: "signal", Signal: signalName(s)})
		leave()
	}, func(s syscall.Signal) {
		r.killed.Store(int32(s))
		r.closeAll()
		time.AfterFunc(flushLimit, func() { close(flushed) })
	})
	r.attach()
	r.closes(r.cluster.Close)
	err := r.serve(ctx)
	r.closeAll()
	<-r.cluster.Done()
	if r.total.Workers > 0 {
		total := r.total
		total.Restarts = r.restarts
		r.reporter.tell(record{Event: "summary", Summary: &total})
	}
	r.reporter.close(flushed)
	sigs.stop()
	if s := r.killed.Load(); s != 0 {
		return &exitError{exitSignal + int(s), errSaid}
	}
	return err
}

// closes has close called by closeAll: at once when that has been called already.
func (r *running) closes(close func()) {
	r.closing.Lock()
	r.closers = append(r.closers, close)
	late := r.closed
	r.closing.Unlock()
	if late {
		close()
	}
}

// closeAll ends everything at once and waits for it.
func (r *running) closeAll() {
	r.closing.Lock()
	r.closed = true
	closers := r.closers
	r.closing.Unlock()
	for _, close := range closers {
		close()
	}
}

// flushLimit is how long what is still to be written may take after a second signal.
const flushLimit = 200 * time.Millisecond

// errSaid is an error that has been told already.
var errSaid = silent{}

type silent struct{}

func (silent) Error() string { return "" }

// attach makes the cluster's events heard. death is another name of exit.
func (r *running) attach() {
	for k := master.EventFork; k < master.EventDeath; k++ {
		r.cluster.On(k, r.take)
	}
}

func (r *running) take(e master.Event) {
	switch e.Kind {
	case master.EventFork:
		r.total.Workers++
	case master.EventExit:
		r.total.Accepted += e.Worker.Figures().Accepted
		r.total.Cut += e.Exit.Cut
	}
	r.reporter.event(e)
}

// serve returns when no worker is left.
func (r *running) serve(ctx context.Context) error {
	p := &progress{}
	if !r.flags.json {
		p = newProgress(os.Stderr)
	}
	report, err := r.cluster.Prepare(ctx, func(s master.Stage) {
		p.stage(s)
		if s.Step == master.StepCompile {
			r.reporter.tell(record{Event: "compile", Module: s.Module, Bytes: s.Bytes})
		}
	})
	p.end()
	if err != nil {
		return err
	}
	if !r.flags.counted && awareness(&report) == clusterAware {
		return r.play(ctx)
	}
	r.reporter.listeners(r.cluster.Settings().Listen, r.cluster.Listeners())
	r.reporter.sandbox(r.cluster.Sandbox())
	return r.supervise(ctx)
}

// supervise keeps the workers alive until none is left to keep, or ctx ends.
func (r *running) supervise(ctx context.Context) error {
	s, err := supervisor.New(r.cluster, r.flags.policy(), r.reporter.note)
	if err != nil {
		return usage(err)
	}
	if err := s.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Shutdown)()
	result := s.Wait()
	r.restarts = s.Status().Restarts
	switch {
	case ctx.Err() != nil:
		return nil // whatever it took: that is what was asked for
	case result.Err != nil:
		return &exitError{result.Code, result.Err}
	case result.Code != 0:
		return &exitError{result.Code, errSaid}
	default:
		return nil
	}
}
