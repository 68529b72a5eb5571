// Package hosttest gives tests the parts of a real cluster: the host binary, and guests.
package hosttest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/wcluster/wcluster/internal/leaktest"
)

var built struct {
	sync.Mutex
	dir string
}

// Main is the whole of a package's TestMain: it runs the tests, removes what they built, and fails when something was
// left open.
func Main(m *testing.M) {
	code := leaktest.Run(m)
	built.Lock()
	defer built.Unlock()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// Binary builds the smallest host binary, once for a test binary, and answers its path. It is built without cgo and
// without the race detector: -race would compile a large guest in 47 s instead of 6.
func Binary(t testing.TB) string {
	t.Helper()
	return build(t, "host", "./internal/hosttest/minimal", "CGO_ENABLED=0")
}

// HostileBinary builds a host binary whose workers attack what is around them when they are told to: see
// host/hostile_linux.go.
func HostileBinary(t testing.TB) string {
	t.Helper()
	return buildTagged(t, "hostile", "hostile-host", "./internal/hosttest/minimal", "CGO_ENABLED=0")
}

// GoGuest builds the Go program in directory, relative to the repository, for wasip1, and answers the module's path.
func GoGuest(t testing.TB, directory string) string {
	t.Helper()
	return build(t, filepath.Base(directory)+".wasm", "./"+directory, "GOOS=wasip1", "GOARCH=wasm")
}

// CacheDir is a cache of compiled modules that all tests of a package share.
func CacheDir(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	return filepath.Join(makeDir(t), "cache")
}

// Guest is the path of a committed module, such as "guests/hello-c/hello.wasm".
func Guest(t testing.TB, path string) string {
	t.Helper()
	if dir := os.Getenv(handedVariable); dir != "" {
		return filepath.Join(dir, filepath.Base(path))
	}
	full := filepath.Join(Root(), path)
	if _, err := os.Stat(full); err != nil {
		t.Fatalf("find guest: %v (go generate ./guests builds it)", err)
	}
	return full
}

// Root is the top of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func build(t testing.TB, name, pkg string, env ...string) string {
	t.Helper()
	return buildTagged(t, "", name, pkg, env...)
}

func buildTagged(t testing.TB, tag, name, pkg string, env ...string) string {
	t.Helper()
	if dir := os.Getenv(handedVariable); dir != "" {
		return filepath.Join(dir, name)
	}
	built.Lock()
	defer built.Unlock()
	out := filepath.Join(makeDir(t), name)
	if _, err := os.Stat(out); err == nil {
		return out
	}
	cmd := exec.Command("go", "build", "-tags="+tag, "-o", out, pkg)
	cmd.Dir = Root()
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("build %s: %w\n%s", pkg, err, text))
	}
	return out
}

// makeDir makes the directory that Main removes; built is locked.
func makeDir(t testing.TB) string {
	t.Helper()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "wcluster-test-")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	return built.dir
}
