// Package wcluster_test holds the tests of the house as a whole.
package wcluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/wcluster/wcluster"

// A rule says what a room may import of ours, and which packages from outside the standard library. What stands in no
// rule may be imported by nobody.
type rule struct {
	room    string   // path below the module; /... means everything below as well
	ours    []string // rooms it may import, with what lies below them where they end in /...
	outside []string // modules it may import from
	never   []string // packages of the standard library it must not import, directly
}

// The house, from the pure to the wiring: arrows point up this list. abi must also compile for guests, which have no
// sockets or processes of Linux.
var rules = []rule{
	{room: "abi", never: []string{"os", "net", "syscall"}},
	{room: "abi/ipc", ours: []string{"abi"}, outside: []string{"golang.org/x/sys/unix"}},
	{room: "wasmworker/wasip1", ours: []string{"abi"}, outside: []string{"golang.org/x/sys/unix", "github.com/tetratelabs/wazero/api", "github.com/tetratelabs/wazero/sys"}, never: []string{"net", "os/exec"}},
	{room: "wasmworker", ours: []string{"abi", "wasmworker/wasip1"}, outside: []string{"golang.org/x/sys/unix", "github.com/tetratelabs/wazero/..."}, never: []string{"net", "os/exec"}},
	{room: "host/sandbox", ours: []string{"abi"}, outside: []string{"golang.org/x/sys/unix", "golang.org/x/net/bpf", "kernel.org/pub/linux/libs/security/libcap/psx", "github.com/landlock-lsm/go-landlock/..."}, never: []string{"net", "os/exec"}},
	{room: "host", ours: []string{"abi", "abi/ipc", "host/sandbox", "wasmworker", "wasmworker/wasip1"}, outside: []string{"golang.org/x/sys/unix"}, never: []string{"net", "os/exec"}},
	{room: "master", ours: []string{"abi", "abi/ipc"}, outside: []string{"golang.org/x/sys/unix"}},
	{room: "master/supervisor", ours: []string{"abi", "master"}},
	{room: "cmd/wcluster", ours: []string{"abi", "host", "master/..."}, outside: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sys/unix"}},
	{room: "examples/...", ours: []string{"abi", "host", "master/..."}},
	{room: "guests/...", ours: []string{"abi", "guests/..."}},
	{room: "bench/...", ours: []string{"abi", "host", "master/...", "bench/..."}, outside: []string{"golang.org/x/sys/unix"}},
	{room: "internal/hosttest/minimal", ours: []string{"host"}},
	{room: "internal/...", ours: []string{"abi", "abi/ipc", "internal/..."}, outside: []string{"golang.org/x/sys/unix"}},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestArrowsPointToThePure(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	used := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if room == "" {
			continue // this file's own package
		}
		r, ok := ruleFor(room)
		if !ok {
			t.Errorf("%s is in no rule: say here who lives there and what it may know", room)
			continue
		}
		used[r.room] = true
		for _, imp := range p.Imports {
			if why := r.refuses(imp); why != "" {
				t.Errorf("%s imports %s: %s", room, imp, why)
			}
		}
	}
	for _, r := range rules {
		if !used[r.room] && !strings.HasSuffix(r.room, "/...") {
			t.Errorf("no package %s: take its rule out", r.room)
		}
	}
}

func ruleFor(room string) (rule, bool) {
	for _, r := range rules {
		if matches(r.room, room) {
			return r, true
		}
	}
	return rule{}, false
}

// refuses answers why imp must not be imported, or "".
func (r rule) refuses(imp string) string {
	switch {
	case strings.HasPrefix(imp, module+"/"):
		if !anyMatches(r.ours, strings.TrimPrefix(imp, module+"/")) {
			return "its rule allows " + strings.Join(r.ours, ", ")
		}
	case strings.Contains(strings.Split(imp, "/")[0], "."):
		if !anyMatches(r.outside, imp) {
			return "its rule allows from outside: " + strings.Join(r.outside, ", ")
		}
	case anyMatches(r.never, imp):
		return "its rule forbids it"
	}
	return ""
}

func anyMatches(patterns []string, p string) bool {
	for _, pattern := range patterns {
		if matches(pattern, p) {
			return true
		}
	}
	return false
}

// matches compares a path with a pattern, which ends in /... to mean everything below as well.
func matches(pattern, p string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return p == base || below && strings.HasPrefix(p, base+"/")
}

func TestABICompilesForGuests(t *testing.T) {
	cmd := exec.Command("go", "vet", "./abi")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("abi does not compile for wasip1: %v\n%s", err, out)
	}
}

func TestBuildsForArm64(t *testing.T) {
	cmd := exec.Command("go", "build", "-o", os.DevNull, "./cmd/wcluster")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build for arm64: %v\n%s", err, out)
	}
}

// TestFilesAreOfOneConcern holds the bound past which STYLE asks what splits.
func TestFilesAreOfOneConcern(t *testing.T) {
	const most = 600
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go", "*.c", "*.h").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for _, file := range strings.Fields(string(out)) {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		} else if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("\n")); n > most && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s has %d lines, more than %d: what splits?", path.Clean(file), n, most)
		}
	}
}
