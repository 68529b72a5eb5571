package master

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
)

// What breaks the protocol ends the offender, with the reason, and nobody else.
func TestOffendersDieAlone(t *testing.T) {
	tests := map[string]string{
		"no-hello":             "not permitted while greeting",
		"other-build":          "0.0.0-other",
		"listen-before-online": "listen is not permitted while starting",
		"garbage":              "malformed frame",
		"unknown-kind":         "unknown kind 200",
		"master-kind":          "nudge is never sent by the worker",
		"flags":                "flags 0x1",
		"oversize":             "message of 1073741824 bytes",
		"wrong-fd-count":       "message with 2 descriptors",
		"bad-json":             "body of fault",
		"unasked-fds":          "descriptors",
		"forged-listening":     "listening on \"tcp4://6.6.6.6:666\"",
		"listening-twice":      "was not given, or has said before",
		"unasked-pong":         "pong 77",
		"unasked-drained":      "drained",
		"hello-twice":          "hello is not permitted",
		"plays-the-master":     "request is not of this role",
		"posts":                "post is not of this role",
	}
	for role, want := range tests {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			c := parallelCluster(t, role, listenOn(tcp(0)))
			r := record(c)
			offender, sibling := fork(t, c), fork(t, c)
			e := r.of(t, offender, EventExit).Exit
			if e.Signal != syscall.SIGKILL || e.Suicide || e.Fault == nil || e.Fault.Reason != abi.FaultProtocol {
				t.Fatalf("exit %+v, fault %+v", e, e.Fault)
			}
			if !strings.Contains(e.Fault.Text, want) || strings.Contains(e.Fault.Text, "\n") {
				t.Errorf("fault %q, want %q in one line", e.Fault.Text, want)
			}
			for _, e := range r.until(t, "the events so far", func([]Event) bool { return true }) {
				if e.Address.Address == "6.6.6.6" {
					t.Error("a forged event was told")
				}
			}
			r.of(t, sibling, EventListening)
			if got := visit(t, c.Listeners()[0]); got != "2" {
				t.Errorf("worker %q answered", got)
			}
			if _, err := sibling.Ping(t.Context()); err != nil || sibling.State() != StateListening {
				t.Errorf("the sibling is %v: %v", sibling.State(), err)
			}
		})
	}
}

// parallelCluster is cluster for parallel tests, where goroutines cannot be counted.
func parallelCluster(t *testing.T, role string, change ...func(*Settings)) *Cluster {
	t.Helper()
	s := Settings{Exec: moduleFile(t, role), CacheDir: cacheDir, Silent: true, Sandbox: abi.SandboxOff}
	for _, f := range change {
		f(&s)
	}
	c := New()
	if err := c.SetupMaster(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); <-c.Done() })
	return c
}

func TestEndsBeforeHello(t *testing.T) {
	c := cluster(t, "dies-at-once")
	r := record(c)
	e := r.of(t, fork(t, c), EventExit).Exit
	if e.Code != 7 || e.Fault == nil || !strings.Contains(e.Fault.Text, "host.Init()") {
		t.Errorf("exit %v", e)
	}
	c = cluster(t, "says-nothing")
	r = record(c)
	w := fork(t, c)
	w.Destroy()
	if e := r.of(t, w, EventExit).Exit; e.Signal != syscall.SIGTERM || !e.Suicide {
		t.Errorf("exit %v", e)
	}
}

func TestAFailingStartIsTold(t *testing.T) {
	c := cluster(t, "bad-start")
	r := record(c)
	w := fork(t, c)
	e := r.of(t, w, EventExit).Exit
	if e.Code != 1 || e.Fault == nil || e.Fault.Reason != abi.FaultStart || e.Fault.Text != "no such import" || e.Fault.Stack != "f1\nf2" {
		t.Errorf("exit %v", e)
	}
}

func TestNothingIsTakenAfterAFault(t *testing.T) {
	c := cluster(t, "after-fault")
	r := record(c)
	w := fork(t, c)
	e := r.of(t, w, EventExit).Exit
	if e.Signal != syscall.SIGKILL || e.Fault == nil || e.Fault.Text != "first" {
		t.Errorf("exit %v", e)
	}
}

func TestAWorkerWithoutAChannelIsEnded(t *testing.T) {
	for _, role := range []string{"closes-channel", "truncated"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			c := parallelCluster(t, role)
			r := record(c)
			w := fork(t, c)
			r.of(t, w, EventDisconnect)
			if c.Worker(w.ID()) == nil || w.IsDead() {
				t.Error("gone at disconnect")
			}
			e := r.of(t, w, EventExit).Exit
			if e.Signal != syscall.SIGKILL || e.Fault == nil || e.Fault.Reason != FaultOverdue {
				t.Errorf("exit %v", e)
			}
		})
	}
}

// A process that the worker leaves behind holds its channel and its outputs open; exit does not wait for it.
func TestExitDoesNotWaitForWhoeverHoldsTheChannel(t *testing.T) {
	c := cluster(t, "passes-channel-on")
	r := record(c)
	start := time.Now()
	w := fork(t, c)
	e := r.of(t, w, EventExit).Exit
	if e.Code != 5 || time.Since(start) > 4*time.Second {
		t.Errorf("exit %v after %v", e, time.Since(start))
	}
	r.said(t, w, "before")
	if i, j := slices.Index(r.lines(), "cluster message before"), slices.Index(r.lines(), "cluster disconnect"); i > j {
		t.Error("a message was told after disconnect")
	}
}
