package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/wcluster/wcluster/internal/leaktest"
)

// work is a directory for the whole test run: the binary, the Go guest, the cache, and the temporary directory of every
// wcluster that is started.
var work string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "wcluster-cli-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(work)
	code := leaktest.Run(m)
	if left := leftovers(); code == 0 && len(left) > 0 {
		fmt.Println("FAIL: left behind:", left)
		return 1
	}
	return code
}

// leftovers are temporary files of the wclusters that ran, and compilations that never became an entry of the cache.
func leftovers() []string {
	var left []string
	for _, pattern := range []string{filepath.Join(tempDir(), "*"), filepath.Join(cacheDir(), "v2", "tmp-*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic(err)
		}
		left = append(left, found...)
	}
	return left
}

func tempDir() string { return filepath.Join(work, "tmp") }

func cacheDir() string { return filepath.Join(work, "cache", "wcluster") }

// binary is the real program, built once without cgo, as it is released: -race would compile a guest for a minute.
var binary = sync.OnceValue(func() string {
	if err := os.Mkdir(tempDir(), 0o700); err != nil {
		panic(err)
	}
	path := filepath.Join(work, "wcluster")
	build(path, ".", "CGO_ENABLED=0")
	return path
})

// helloGo is an unmodified net/http server.
var helloGo = sync.OnceValue(func() string {
	module := filepath.Join(work, "hello-go.wasm")
	build(module, "../../guests/hello-go", "GOOS=wasip1", "GOARCH=wasm")
	return module
})

func build(to, from string, env ...string) {
	cmd := exec.Command("go", "build", "-o", to, ".")
	cmd.Dir = from
	cmd.Env = append(os.Environ(), env...)
	if said, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build in %s: %v\n%s", from, err, said))
	}
}

// guest is the path of a committed guest.
func guest(t *testing.T, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(absolute); err != nil {
		t.Fatal(err)
	}
	return absolute
}

const (
	moody     = "testdata/guests/moody/moody.wasm"
	helloC    = "guests/hello-c/hello.wasm"
	roles     = "testdata/guests/roles/roles.wasm"
	pollC     = "guests/poll-c/poll.wasm"
	countC    = "guests/count-c/count.wasm"
	envGuest  = "testdata/guests/env/env.wasm"
	exit42    = "testdata/guests/exit42/exit42.wasm"
	printer   = "testdata/guests/printer/printer.wasm"
	trapGuest = "testdata/guests/trap/trap.wasm"
	oomGuest  = "testdata/guests/oom/oom.wasm"
)
