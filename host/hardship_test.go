package host_test

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/internal/leaktest"
	"github.com/wcluster/wcluster/master"
	"github.com/wcluster/wcluster/master/supervisor"
)

// supervised keeps the workers of a cluster alive until the test ends.
func supervised(t *testing.T, module string, p supervisor.Policy, change func(*master.Settings)) (*cluster, *supervisor.Supervisor) {
	t.Helper()
	c := start(t, module, 0, change)
	s, err := supervisor.New(c.Cluster, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		s.Wait()
	})
	c.await(master.EventListening, p.Workers)
	return c, s
}

// soaking says whether there is time for many rounds.
func soaking() bool { return os.Getenv("WCLUSTER_SOAK") != "" }

// TestKilledWorkersAreReplaced kills workers under load, as an operator might or the kernel when memory is short: the
// requests in flight at the killed worker fail and no others, each end is told once, and the master is left as it was.
func TestKilledWorkersAreReplaced(t *testing.T) {
	const workers, clients = 2, 16
	kills := 3
	if soaking() {
		kills = 20
	}
	c, _ := supervised(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), supervisor.Policy{Workers: workers}, listen)
	descriptors, goroutines := leaktest.Descriptors(), runtime.NumGoroutine()
	l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", keep: true, again: true}, clients)
	for n := 1; n <= kills; n++ {
		victim := c.Workers()[0]
		time.Sleep(time.Until(victim.StartedAt().Add(time.Second))) // it has to have worked for a while
		l.reach(t, l.answered.Load()+200)
		if err := victim.Process().Kill(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		e := c.await(master.EventExit, n)
		if e.Worker != victim || e.Exit.Signal != syscall.SIGKILL || e.Exit.Fault != nil || e.Exit.Suicide {
			t.Errorf("kill %d: %v ended with %v, suicide %v", n, e.Worker, e.Exit, e.Exit.Suicide)
		}
		c.await(master.EventListening, workers+n)
		l.reach(t, l.answered.Load()+200)
		failed := l.failures()
		if len(failed) > clients {
			t.Errorf("kill %d: %d requests failed of %d clients, the first: %v", n, len(failed), clients, failed[0])
		}
		for _, f := range failed {
			if f.worker != "" && f.worker != strconv.Itoa(int(victim.ID())) {
				t.Errorf("kill %d, of %v: %v", n, victim, f)
			}
		}
	}
	l.finish()
	if n := l.unmade.Load(); n > 0 {
		t.Errorf("%d connections could not be made", n)
	}
	var after [2]int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		after = [2]int{leaktest.Descriptors(), runtime.NumGoroutine()}
		if after[0] <= descriptors && after[1] <= goroutines {
			break
		}
	}
	if after[0] > descriptors || after[1] > goroutines {
		t.Errorf("%d descriptors and %d goroutines before, %d and %d after", descriptors, goroutines, after[0], after[1])
	}
	exits := 0
	for _, e := range c.events {
		if e.Kind == master.EventExit {
			exits++
		}
	}
	if exits != kills {
		t.Errorf("%d kills, %d exits", kills, exits)
	}
}

// TestAStuckWorkerIsKilledWhileTheOthersServe: whoever the stuck one does not hold is served as ever.
func TestAStuckWorkerIsKilledWhileTheOthersServe(t *testing.T) {
	const timeout = time.Second
	cases := []struct {
		name   string
		stick  func(t *testing.T, c *cluster)
		faults []string
	}{
		{"stopped by SIGSTOP", func(t *testing.T, c *cluster) {
			if err := c.Workers()[0].Process().Kill(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}, []string{"stuck: no answer to a ping for 1s", "stuck: no host call for 1s"}}, // whether it waited or not
		{"spinning in its guest", func(t *testing.T, c *cluster) {
			if _, err := dial(t, c.target()).Write([]byte("GET /spin HTTP/1.1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
		}, []string{"stuck: no host call for 1s"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			const clients = 4
			c, s := supervised(t, guest(t, "moody"), supervisor.Policy{Workers: 3, Timeout: timeout}, listen)
			l := startLoad(&load{target: c.target(), path: "/", body: "hello from worker", again: true}, clients)
			l.reach(t, 200)
			before := l.pace()
			began := time.Now()
			tc.stick(t, c)
			e := c.await(master.EventExit, 1)
			took := time.Since(began)
			slowest := l.pace()
			if e.Exit.Signal != syscall.SIGKILL || e.Exit.Fault == nil || e.Exit.Fault.Reason != master.FaultStuck || !slices.Contains(tc.faults, e.Exit.Fault.Text) {
				t.Errorf("it ended with %v", e.Exit)
			}
			// A check comes ten times in a timeout; the rest is for a machine that has other things to do.
			if took < timeout/2 || took > timeout+timeout/10+time.Second {
				t.Errorf("it was killed after %v, the timeout is %v", took, timeout)
			}
			if slowest > timeout/2 {
				t.Errorf("an answer took %v meanwhile, %v before", slowest, before)
			}
			c.await(master.EventListening, 4)
			l.reach(t, l.answered.Load()+200)
			l.finish()
			// The client that the stuck worker held.
			if failed := l.failures(); len(failed) > 1 {
				t.Errorf("%d requests failed, the first: %v", len(failed), failed[0])
			}
			if st := s.Status(); st.State != supervisor.Running || st.Restarts != 1 {
				t.Errorf("status %+v", st)
			}
		})
	}
}
