package leaktest_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wcluster/wcluster/abi/ipc"
	"github.com/wcluster/wcluster/internal/leaktest"
)

// leakEnv names what the test process, run anew, is to leave open.
const leakEnv = "LEAKTEST_LEAK"

func TestMain(m *testing.M) { leaktest.Main(m, "leaktest_test.stay") }

// leaks are what must make a package's tests fail, with what must be said.
var leaks = map[string]struct {
	leave func(t *testing.T)
	says  string
}{
	"an FD": {func(t *testing.T) {
		a, b, err := ipc.Pair()
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		_ = b // is left open
	}, "ipc.Pair"},
	"a bare descriptor": {func(t *testing.T) {
		if _, err := unix.MemfdCreate("forgotten", 0); err != nil {
			t.Fatal(err)
		}
	}, "memfd:forgotten"},
	"a goroutine": {func(*testing.T) { go stay() }, "leaktest_test.stay"},
}

func stay() { select {} }

func TestLeaksFail(t *testing.T) {
	if name := os.Getenv(leakEnv); name != "" {
		leaks[name].leave(t)
		return
	}
	var wg sync.WaitGroup // at once: each waits for the grace to be over
	for name, leak := range leaks {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLeaksFail$")
			cmd.Env = append(os.Environ(), leakEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), leak.says) || !strings.Contains(string(out), "left open") {
				t.Errorf("%s: %v, want a failure that says %s:\n%s", name, err, leak.says, out)
			}
		})
	}
	wg.Wait()
}

func TestNoGoroutineWaitsForTheEnd(t *testing.T) {
	end := make(chan struct{})
	go func() { waiting(end) }()
	close(end)
	leaktest.NoGoroutine(t, "leaktest_test.waiting")
}

func waiting(end chan struct{}) { <-end }
