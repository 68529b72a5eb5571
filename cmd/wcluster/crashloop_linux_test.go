package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCrashLoop: a guest that fails again and again costs little and says little. WCLUSTER_SOAK makes it a minute.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	const (
		workers   = 2
		intensity = 5 // in 10 s, the default
		lineBytes = 200
		cpu       = 0.05
	)
	span := 3 * time.Second
	if os.Getenv("WCLUSTER_SOAK") != "" {
		span = time.Minute
	}
	c := start(t, []string{"run", guest(t, exit42), "-n", "2"})
	began := time.Now()
	c.awaitErr(1, `^wcluster: worker 1 exited with code 42$`)
	time.Sleep(time.Until(began.Add(span))) // the thing measured is how little happens
	c.signal(syscall.SIGTERM)
	c.exits(0)

	log := c.stderr.String()
	forks := strings.Count(log, " online (pid ")
	if most := workers + intensity*(int(span/(10*time.Second))+1); forks > most || forks <= workers {
		t.Errorf("%d workers in %v, at most %d", forks, span, most)
	}
	// Each worker is told of when it comes online, ends, is to be replaced and has replaced; then there is the state.
	if most := lineBytes * (4*forks + int(span/(10*time.Second)) + 4); len(log) > most {
		t.Errorf("%d bytes of log for %d workers, at most %d", len(log), forks, most)
	}
	if !strings.Contains(log, "wcluster: degraded: ") {
		t.Error("nothing says that the cluster is degraded")
	}
	// wait4(2) counts what a process has waited for as well.
	spent := c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
	if span >= time.Minute && spent > time.Duration(cpu*float64(span)) {
		t.Errorf("%v of CPU in %v", spent, span)
	}
	t.Logf("%d workers, %d bytes of log, %v of CPU in %v", forks, len(log), spent, span)
}
