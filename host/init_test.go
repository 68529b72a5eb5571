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
	initAttempts = 20 // the least of each package is taken: a slow start says more about the machine
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
	fastest, bytes := map[string]time.Duration{}, 0
	for range initAttempts {
		bytes = traceInit(t, bin, fastest)
	}
	least := time.Duration(0)
	for _, clock := range fastest {
		least += clock
	}
	t.Logf("init of all packages: %v, %d bytes", least, bytes)
	if least > maxInitTime {
		t.Errorf("init of all packages takes %v, at most %v: GODEBUG=inittrace=1 names them", least, maxInitTime)
	}
	if bytes > maxInitBytes {
		t.Errorf("init of all packages allocates %d bytes, at most %d: GODEBUG=inittrace=1 names them", bytes, maxInitBytes)
	}
}

// traceInit notes in fastest how long each package took, if it never took less, and answers what all allocate.
func traceInit(t *testing.T, bin string, fastest map[string]time.Duration) (total int) {
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
		clock := time.Duration(ms * float64(time.Millisecond))
		if before, ok := fastest[f[1]]; !ok || clock < before {
			fastest[f[1]] = clock
		}
		total += n
		lines++
	}
	if lines == 0 {
		t.Fatalf("no trace of init in: %s", stderr.String())
	}
	return total
}
