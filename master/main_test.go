package master

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wcluster/wcluster/abi"
	"github.com/wcluster/wcluster/internal/leaktest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play(role)
	}
	if dir := os.Getenv(masterVariable); dir != "" {
		playMaster(dir)
	}
	flag.Parse()
	os.Exit(run(m))
}

// run fails as well when a role was not used, unless only some tests were asked for.
func run(m *testing.M) int {
	var err error
	if cacheDir, err = os.MkdirTemp("", "wcluster-test-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(cacheDir)
	code := leaktest.Run(m)
	if code != 0 || testing.Short() || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return code
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(roles)), slices.Collect(maps.Keys(compilers)), slices.Collect(maps.Keys(probers))) {
		if _, ok := rolesUsed.Load(name); !ok && name != "" {
			fmt.Println("FAIL: role that no test uses:", name)
			code = 1
		}
	}
	return code
}

var (
	cacheDir  string
	rolesUsed sync.Map
)

func openFDs() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

const patience = 10 * time.Second // a test fails after it; none waits so long

// eventually waits for what happens by itself and tells nobody when: the end of goroutines that nothing waits for.
func eventually(ok func() bool) bool {
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// moduleFile makes a module file whose host process plays role.
func moduleFile(t testing.TB, role string) string {
	t.Helper()
	rolesUsed.Store(role, true)
	path := filepath.Join(t.TempDir(), role+".wasm")
	if err := os.WriteFile(path, []byte("\x00asm, as far as the master knows"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// cluster makes one whose workers play role. It is closed at the end of the test, and must leave no goroutine.
func cluster(t testing.TB, role string, change ...func(*Settings)) *Cluster {
	t.Helper()
	c := New()
	setUp(t, c, role, change...)
	return c
}

// recorded is cluster with a recorder that was there before the setup, and so hears of it.
func recorded(t testing.TB, role string, change ...func(*Settings)) (*Cluster, *recorder) {
	t.Helper()
	c := New()
	r := record(c)
	setUp(t, c, role, change...)
	return c, r
}

func setUp(t testing.TB, c *Cluster, role string, change ...func(*Settings)) {
	t.Helper()
	before := runtime.NumGoroutine()
	s := Settings{Exec: moduleFile(t, role), CacheDir: cacheDir, Silent: true, Sandbox: abi.SandboxOff}
	for _, f := range change {
		f(&s)
	}
	if err := c.SetupMaster(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-c.Done()
		if !eventually(func() bool { return runtime.NumGoroutine() <= before }) {
			all := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), all[:runtime.Stack(all, true)])
		}
	})
}

// recorder keeps what handlers were told.
type recorder struct {
	mu      sync.Mutex
	changed *sync.Cond
	events  []Event
	trace   []string
}

// record listens to everything of c. Attach before the first Fork.
func record(c *Cluster) *recorder {
	r := &recorder{}
	r.changed = sync.NewCond(&r.mu)
	for kind := EventSetup; kind < eventEnd; kind++ {
		c.On(kind, func(e Event) { r.add("cluster", e) })
	}
	return r
}

// follow listens to everything of w as well.
func (r *recorder) follow(w *Worker) {
	for kind := EventSetup; kind < eventEnd; kind++ {
		w.On(kind, func(e Event) { r.add("worker", e) })
	}
}

func (r *recorder) add(who string, e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := who + " " + e.Kind.String()
	switch e.Kind {
	case EventListening:
		line += " " + e.Address.AddressType
	case EventMessage:
		line += " " + string(e.Message)
	case EventExit, EventDeath:
		line += fmt.Sprintf(" %d %d %t", e.Exit.Code, e.Exit.Signal, e.Exit.Suicide)
	}
	r.trace = append(r.trace, line)
	if who == "cluster" {
		r.events = append(r.events, e)
	}
	r.changed.Broadcast()
}

// until waits until ok of the events so far, and answers them.
func (r *recorder) until(t testing.TB, what string, ok func([]Event) bool) []Event {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		late = true
		r.changed.Broadcast()
	})
	defer timer.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !ok(r.events) && !late {
		r.changed.Wait()
	}
	if late {
		t.Fatalf("waited for %s; so far:\n%s", what, strings.Join(r.trace, "\n"))
	}
	return slices.Clone(r.events)
}

// event waits for the n-th event of a kind, of any worker; n begins with 1.
func (r *recorder) event(t testing.TB, kind EventKind, n int) Event {
	t.Helper()
	var found Event
	r.until(t, fmt.Sprintf("%v number %d", kind, n), func(all []Event) bool {
		seen := 0
		for _, e := range all {
			if e.Kind != kind {
				continue
			}
			if seen++; seen == n {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// of waits for the first event of a kind of one worker.
func (r *recorder) of(t testing.TB, w *Worker, kind EventKind) Event {
	t.Helper()
	var found Event
	r.until(t, fmt.Sprintf("%v of %v", kind, w), func(all []Event) bool {
		i := slices.IndexFunc(all, func(e Event) bool { return e.Kind == kind && e.Worker == w })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

// said waits until w has sent a message that begins with prefix, and answers the message.
func (r *recorder) said(t testing.TB, w *Worker, prefix string) string {
	t.Helper()
	var found string
	r.until(t, fmt.Sprintf("message %q of %v", prefix, w), func(all []Event) bool {
		for _, e := range all {
			if e.Kind == EventMessage && e.Worker == w && strings.HasPrefix(string(e.Message), prefix) {
				found = string(e.Message)
				return true
			}
		}
		return false
	})
	return found
}

func (r *recorder) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.trace)
}

func fork(t testing.TB, c *Cluster, env ...string) *Worker {
	t.Helper()
	w, err := c.Fork(env...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func send(t testing.TB, w *Worker, text string) {
	t.Helper()
	if err := w.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
}
