package host_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

// These tests let workers attack that are built to: host/hostile_linux.go says how. What is tried is there, what must come
// of it in the tables beside this file.

// trial is one attack and what must come of it: a call's name with an errno, or one of the ends below. "or" stands between
// outcomes that differ by kernel.
type trial struct {
	name    string // a sentence
	attack  string
	outcome string
}

const (
	killed   = "killed by SIGSYS"                // by seccomp
	expelled = "ended for breaking the protocol" // by the master
)

func (tr trial) expects(outcome string) bool {
	return slices.Contains(strings.Split(tr.outcome, " or "), outcome)
}

// TestHostileWorkersAreDenied: whatever a worker tries, it is refused or ended, and who is beside it serves on as if nothing
// had been.
func TestHostileWorkersAreDenied(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		adoptOrphans(t)
		c := hostile(t, 2, nil)
		alone := hostile(t, 0, nil) // for those that need a connection, which nobody else may take
		honest := c.pids()
		before, files := listenerState(t, c.target()), filesIn(t, c.Settings().CacheDir)
		l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", again: true}, 2)
		l.reach(t, 100)

		known := c.knownAttacks(t)
		t.Run("beside honest workers", func(t *testing.T) {
			for _, tr := range trials {
				t.Run(tr.name, func(t *testing.T) {
					t.Parallel()
					got := c.attack(tr.attack)
					if !tr.expects(got) {
						t.Errorf("%s: %q, want %q; it would have won %s", tr.attack, got, tr.outcome, known[tr.attack])
					}
				})
			}
		})
		for _, tr := range connectionTrials {
			t.Run(tr.name, func(t *testing.T) {
				conn := dial(t, alone.target())
				defer conn.Close()
				if got := alone.attack(tr.attack); !tr.expects(got) {
					t.Errorf("%s: %q, want %q; it would have won %s", tr.attack, got, tr.outcome, known[tr.attack])
				}
			})
		}

		l.reach(t, l.answered.Load()+100)
		l.finish()
		l.report(t)
		if n := l.refused.Load(); n > 0 {
			t.Errorf("%d connections were refused", n)
		}
		if now := c.pids(); !slices.Equal(now, honest) {
			t.Errorf("the honest workers were %v and are %v", honest, now)
		}
		if after := listenerState(t, c.target()); after != before {
			t.Errorf("the listener was %s and is %s", before, after)
		}
		if now := filesIn(t, c.Settings().CacheDir); !slices.Equal(now, files) {
			t.Errorf("the cache held %q and holds %q", files, now)
		}
		noEvidence(t)
		awaitChildren(t, honest)
		c.Close()
		alone.Close()
		awaitChildren(t, nil)
	})
}

// TestEveryAttackIsUsed: one that no table names would be a denial that nobody looks at.
func TestEveryAttackIsUsed(t *testing.T) {
	hosttest.AsEachUser(t, hostileParts, func(t *testing.T) {
		known := hostile(t, 0, nil).knownAttacks(t)
		used := map[string]bool{manyThreads: true} // in TestEveryThreadIsLockedDown
		for _, tr := range slices.Concat(trials, connectionTrials) {
			if used[tr.attack] {
				t.Errorf("%s is in the tables twice", tr.attack)
			}
			used[tr.attack] = true
			if _, ok := known[tr.attack]; !ok {
				t.Errorf("there is no attack %s", tr.attack)
			}
		}
		for name := range known {
			if !used[name] {
				t.Errorf("no table names the attack %s", name)
			}
		}
	})
}

// Attacks that the tests treat in a way of their own.
const (
	manyThreads = "threads"
)

// hostileParts are what these tests ask hosttest for.
func hostileParts(t testing.TB) []string {
	return []string{hosttest.Binary(t), hosttest.HostileBinary(t), hosttest.Guest(t, "guests/hello-c/hello.wasm")}
}

// hostile starts a cluster of n honest workers, locked down strictly, in which others can be told to attack. It skips the
// test where the host lacks a layer.
func hostile(t *testing.T, n int, change func(*master.Settings)) *cluster {
	t.Helper()
	module := hosttest.Guest(t, "guests/hello-c/hello.wasm")
	settings := func(s *master.Settings) {
		listen(s)
		s.Host = hosttest.HostileBinary(t)
		s.Sandbox = abi.SandboxStrict
		s.Limits.FDs = 64
		if change != nil {
			change(s)
		}
	}
	skipWithout(t, module, settings)
	c := start(t, module, n, settings)
	if n > 0 {
		c.await(master.EventListening, n)
	}
	return c
}

// skipWithout skips the test where the sandbox that is asked for cannot be had, and says why.
func skipWithout(t *testing.T, module string, change func(*master.Settings)) {
	t.Helper()
	s := master.Settings{Exec: module, CacheDir: hosttest.CacheDir(t)}
	change(&s)
	c := master.New()
	defer c.Close()
	if err := c.SetupMaster(s); err != nil {
		t.Fatal(err)
	}
	_, err := c.Prepare(context.Background(), nil)
	if err != nil && strings.Contains(err.Error(), "this host lacks") {
		t.Skip(err)
	}
}

// attack has a new worker try something and answers what came of it.
func (c *cluster) attack(name string) string {
	came := make(chan string, 1)
	c.Do(func() {
		w, err := c.Fork(c.orders(name)...)
		if err != nil {
			came <- err.Error()
			return
		}
		w.On(master.EventOnline, func(master.Event) { _ = w.Send([]byte("begin")) }) // else the outcome is missing
		var said []string
		w.On(master.EventMessage, func(e master.Event) { said = append(said, string(e.Message)) })
		w.On(master.EventDeath, func(e master.Event) {
			came <- outcome(said, e.Exit)
		})
	})
	select {
	case o := <-came:
		return o
	case <-time.After(patience):
		return fmt.Sprintf("nothing within %v", patience)
	}
}

// outcome is what came of a worker that has told something, or nothing, and then ended.
func outcome(said []string, exit *master.Exit) string {
	reason := abi.FaultReason("")
	if exit.Fault != nil {
		reason = exit.Fault.Reason
	}
	switch {
	case len(said) == 0 && exit.Signal == unix.SIGSYS && reason == abi.FaultSandbox:
		return killed
	case len(said) == 0 && reason == abi.FaultProtocol:
		return expelled
	case exit.Code != 0 || exit.Fault != nil:
		said = append(said, exit.String())
	}
	return strings.Join(said, ", ")
}

// orders are what a hostile worker finds in its environment.
func (c *cluster) orders(name string) []string {
	sibling := 1
	if all := c.Workers(); len(all) > 0 {
		sibling = all[0].Process().Pid()
	}
	return []string{"ATTACK=" + name, "SIBLING=" + strconv.Itoa(sibling), "MASTER=" + strconv.Itoa(os.Getpid())}
}

// knownAttacks are the attacks of the hostile binary, with what each would win.
func (c *cluster) knownAttacks(t *testing.T) map[string]string {
	t.Helper()
	known := map[string]string{}
	for line := range strings.Lines(c.attack("list")) {
		name, gain, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			t.Fatalf("the list of attacks has a line %q", line)
		}
		if known[name] != "" {
			t.Errorf("two attacks are called %s", name)
		}
		known[name] = gain
	}
	return known
}

// pids are the processes of the workers.
func (c *cluster) pids() (all []int) {
	for _, w := range c.Workers() {
		all = append(all, w.Process().Pid())
	}
	slices.Sort(all)
	return all
}
