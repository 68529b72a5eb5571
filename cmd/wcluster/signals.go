//go:build linux

package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// signals calls soft for the first SIGINT or SIGTERM and hard for the second. Both run in its goroutine, which ends with
// stop, or after hard.
type signals struct {
	came  chan os.Signal
	ended chan struct{}
	done  sync.WaitGroup
}

func onSignals(soft, hard func(syscall.Signal)) *signals {
	s := &signals{came: make(chan os.Signal, 2), ended: make(chan struct{})}
	signal.Notify(s.came, syscall.SIGINT, syscall.SIGTERM)
	s.done.Go(func() {
		for _, f := range []func(syscall.Signal){soft, hard} {
			select {
			case sig := <-s.came:
				f(sig.(syscall.Signal)) // on unix it is one
			case <-s.ended:
				return
			}
		}
	})
	return s
}

// stop gives the signals back and waits until neither function runs.
func (s *signals) stop() {
	signal.Stop(s.came)
	close(s.ended)
	s.done.Wait()
}

// surviveClosedPipes lets a write to a closed stdout or stderr fail, where the runtime would end the program: who
// reads the log must not decide whether the cluster serves. Notify, unlike Ignore, is not inherited by the workers.
func surviveClosedPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
