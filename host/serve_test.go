package host_test

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wcluster/wcluster/internal/hosttest"
	"github.com/wcluster/wcluster/master"
)

func TestAllWorkersServeOnePort(t *testing.T) {
	const workers, connections = 4, 400
	c := start(t, hosttest.Guest(t, "guests/hello-c/hello.wasm"), workers, listen)
	c.await(master.EventListening, workers)
	served := map[string]int{}
	for range connections {
		served[worker(t, get(t, c.target(), "/"))]++
	}
	if len(served) != workers {
		t.Errorf("of %d workers, these served: %v", workers, served)
	}
	for id, n := range served {
		// One by one, connections spread evenly: within a factor of 1.5 of the mean is far from chance.
		if n < connections/workers*2/3 || n > connections/workers*3/2 {
			t.Errorf("worker %s served %d of %d connections: %v", id, n, connections, served)
		}
	}
	c.disconnect()
}

// TestOrdinaryProgramsServe runs programs that know nothing of wcluster and find their socket at descriptor 3.
func TestOrdinaryProgramsServe(t *testing.T) {
	cases := []struct{ name, module string }{
		{"C with poll and accept4", "guests/poll-c/poll.wasm"},
		{"C with a blocking accept", "guests/accept-c/accept.wasm"},
		{"Rust with incoming", "guests/accept-rust/accept.wasm"},
		{"Go with net/http", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			module := ""
			if tc.module == "" {
				module = hosttest.GoGuest(t, "guests/hello-go")
			} else {
				module = hosttest.Guest(t, tc.module)
			}
			c := start(t, module, 2, listen)
			c.await(master.EventListening, 2)
			served := map[string]int{}
			for range 100 {
				served[worker(t, get(t, c.target(), "/"))]++
			}
			if len(served) != 2 {
				t.Errorf("only %v served", served)
			}
			idle(t, c)
			c.disconnect()
			if exit := c.await(master.EventExit, 1).Exit; exit.Code != 0 || !exit.Suicide {
				t.Errorf("after disconnect: %v, suicide %v", exit, exit.Suicide)
			}
		})
	}
}

const idleSpan = 300 * time.Millisecond

// idle asserts that workers which wait cost nothing: at most one tick of the kernel's clock each, which a sample of
// their time may hit by chance. WCLUSTER_SOAK says how long to look.
func idle(t *testing.T, c *cluster) {
	t.Helper()
	span := idleSpan
	if soak, err := time.ParseDuration(os.Getenv("WCLUSTER_SOAK")); err == nil {
		span = soak
	}
	idleFor(t, c, span)
}

// idleFor is idle for a while that has clients waiting, who do not wait for ever.
func idleFor(t *testing.T, c *cluster, span time.Duration) {
	t.Helper()
	before := ticks(t, c)
	time.Sleep(span) // the thing measured is that nothing happens
	if spent := ticks(t, c) - before; spent > len(c.Workers()) {
		t.Errorf("idle workers used %d ms of CPU in %v", spent*10, span)
	}
}

// ticks sums what the workers have used, in hundredths of a second: fields 14 and 15 of proc_pid_stat(5).
func ticks(t *testing.T, c *cluster) (sum int) {
	t.Helper()
	for _, w := range c.Workers() {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(w.Process().Pid()) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		sum += user + system
	}
	return sum
}

func TestCountReceivesAMessagePerRequest(t *testing.T) {
	const requests = 300
	c := start(t, hosttest.Guest(t, "guests/count-c/count.wasm"), 2, listen)
	c.await(master.EventListening, 2)
	for range requests {
		worker(t, get(t, c.target(), "/"))
	}
	c.await(master.EventMessage, requests)
	c.disconnect()
	c.mu.Lock()
	defer c.mu.Unlock()
	got := 0
	for _, e := range c.events {
		if e.Kind == master.EventMessage {
			got++
			if string(e.Message) != `{"cmd":"notifyRequest"}` {
				t.Fatalf("unexpected message %q", e.Message)
			}
		}
	}
	if got != requests {
		t.Errorf("%d messages for %d requests", got, requests)
	}
}

func TestKeepAliveConnectionServesManyRequests(t *testing.T) {
	c := start(t, hosttest.GoGuest(t, "guests/hello-go"), 1, listen)
	c.await(master.EventListening, 1)
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	for range 50 {
		resp, err := client.Get("http://" + c.target() + "/")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(b) != "hello from worker 1\n" {
			t.Fatalf("response %d %q: %v", resp.StatusCode, b, err)
		}
	}
	if got := c.Workers()[0].Figures().Accepted; got != 1 {
		t.Errorf("%d connections were accepted for one client that keeps its own", got)
	}
}
