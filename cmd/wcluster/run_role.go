//go:build linux

package main

import (
	"context"

	"github.com/wcluster/wcluster/master"
)

// play runs the module in the master role. What was prepared to be forked is let go: the guest says itself what it forks.
func (r *running) play(ctx context.Context) error {
	r.cluster.Close()
	<-r.cluster.Done()
	r.cluster = master.New()
	r.attach()
	g, err := master.NewGuestMaster(r.cluster, r.settings, master.Role{
		Modules: r.flags.modules, MaxWorkers: int(r.flags.most),
		Errors: func(err error) { r.reporter.tell(record{Event: "refused", Error: err.Error()}) },
	})
	if err != nil {
		return usage(err)
	}
	r.closes(g.Close)
	if _, err := g.Home().Prepare(ctx, nil); err != nil {
		return err
	}
	r.reporter.sandbox(g.Home().Sandbox())
	r.cluster.Once(master.EventFork, func(master.Event) {
		r.reporter.listeners(r.cluster.Settings().Listen, r.cluster.Listeners())
	})
	ended := make(chan *master.Exit, 1)
	g.Home().Once(master.EventExit, func(e master.Event) { ended <- e.Exit })
	if err := g.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, g.Disconnect)()
	exit := <-ended
	g.Close()
	if exit.Fault != nil || exit.Signal != 0 {
		r.reporter.tell(record{Event: "exit", Exit: newExitRecord(exit)})
	}
	switch {
	case ctx.Err() != nil:
		return nil // whatever it took: that is what was asked for
	case exit.Signal != 0:
		return &exitError{exitSignal + int(exit.Signal), errSaid}
	case exit.Code != 0:
		return &exitError{exit.Code, errSaid}
	default:
		return nil
	}
}
