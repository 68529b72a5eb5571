package host_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A package's init runs in every worker, before anything else.
const (
	maxInitTime  = time.Millisecond
	maxInitBytes = 100 << 10
	initAttempts = 20 // the least of them is taken: a slow start says more about the machine
)

// TestInitOfAllPackagesIsBounded runs the command as a worker without a master, with GODEBUG=inittrace=1:
//
//	init os @0.28 ms, 0.012 ms clock, 1024 bytes, 12 allocs
func TestInitOfAllPackagesIsBounded(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "wcluster")
	build := exec.Command("go", "build", "-o", bin, "../cmd/wcluster")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	least, bytes := time.Hour, 0
	for range initAttempts {
		var clock time.Duration
		clock, bytes = traceInit(t, bin)
		least = min(least, clock)
	}
	t.Logf("init of all packages: %v, %d bytes", least, bytes)
	if least > maxInitTime {
		t.Errorf("init of all packages takes %v, at most %v: GODEBUG=inittrace=1 names them", least, maxInitTime)
	}
	if bytes > maxInitBytes {
		t.Errorf("init of all packages allocates %d bytes, at most %d: GODEBUG=inittrace=1 names them", bytes, maxInitBytes)
	}
}

func traceInit(t *testing.T, bin string) (clock time.Duration, total int) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = []string{"WCLUSTER_ROLE=worker", "GODEBUG=inittrace=1"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil {
		t.Fatal("a worker without a master ended well")
	}
	lines := 0
	for line := range strings.Lines(stderr.String()) {
		f := strings.Fields(line)
		if len(f) < 9 || f[0] != "init" {
			continue
		}
		ms, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			t.Fatalf("parse %q: %v", line, err)
		}
		n, err := strconv.Atoi(f[7])
		if err != nil {
			t.Fatalf("parse %q: %v", line, err)
		}
		clock += time.Duration(ms * float64(time.Millisecond))
		total += n
		lines++
	}
	if lines == 0 {
		t.Fatalf("no trace of init in: %s", stderr.String())
	}
	return clock, total
}
